"""Simulated cartridges and a model by rule, small enough to be scanned many times."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from rule_model import rule_reference, write_rule_model

from ctcnet.cli import main
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge

FRAME_PX = (256, 224)
"""Width and height of the frames."""
FRAMES = 6


@pytest.fixture(autouse=True)
def same_threads_after() -> Iterator[None]:
    """`ctcnet scan` gives each of its threads one thread of torch; other tests keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rule_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX file that calls by the mean stain of a crop's middle: leukocyte by CD45, CTC by CK, else debris.

    It judges whole cartridges too.
    """
    path = tmp_path_factory.mktemp("model") / "rule.onnx"
    write_rule_model(path, reference=rule_reference())
    return path


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A model that is not the one of `rule_model`, and does not judge cartridges."""
    write_rule_model(tmp_path / "other.onnx", ck_weight=0.9)
    return tmp_path / "other.onnx"


@pytest.fixture(scope="session")
def cartridge_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated CellTracks cartridge, 2 rows of 3 frames, with CTCs and cells across borders; not to be changed."""
    return write_simulated_cartridge(
        tmp_path_factory.mktemp("simulated") / "cartridge",
        layout="celltracks",
        frames=FRAMES,
        nuclei_per_frame=14,
        seed=5,
        ctc=5,
        clusters_neutrophil=2,
        frame_size_px=FRAME_PX,
    )


@pytest.fixture
def cartridge(cartridge_source: Path, tmp_path: Path) -> Path:
    """A copy of `cartridge_source` that a test may damage."""
    return Path(shutil.copytree(cartridge_source, tmp_path / "cartridge"))


Scan = Callable[..., int]


@pytest.fixture
def scan(rule_model: Path) -> Scan:
    """Runs `ctcnet scan` with the model by rule on the CPU; gives the exit code."""

    def run(*cartridges: Path, out: Path, options: tuple[str, ...] = (), model: Path = rule_model) -> int:
        words = ["scan", *map(str, cartridges), "--model", str(model), "-o", str(out), "--device", "cpu"]
        return main([*words, "--threads", "2", *options])

    return run
