"""Work on a GPU as far as it can be told without one: every tensor is where it has to be, and answers are the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_cuda import PretendTensor, has_cuda_kernel, pretend_cuda
from pyarrow import parquet
from torch import Tensor
from untrained_checkpoint import write_untrained_checkpoint

from ctcnet.cli import main
from ctcnet.data.augmentation import Augmentation
from ctcnet.data.device_augmentation import DeviceAugmentation
from ctcnet.networks import build_classifier
from ctcnet.panel import load_panel
from ctcnet.scan.preprocess.unmixing import undo_spillover

pytestmark = pytest.mark.integration

PANEL = load_panel("ctc5")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Calls a function while a GPU is pretended to be there, which it has to use."""

    def call(function: Callable, *args: object) -> object:
        before = PretendTensor.made
        with monkeypatch.context() as patch, pretend_cuda(patch):
            result = function(*args)
        assert PretendTensor.made > before
        return result

    return call


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained_checkpoint(tmp_path_factory.mktemp("model") / "best.ckpt", 32)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "crops"
    words = ["--count", "60", "--groups", "6", "--seed", "1", "--crop-size-px", "32", "--effects", "all"]
    assert main(["simulate", "crops", str(folder), *words]) == 0
    return folder


def test_what_fails_on_a_gpu_fails_here(on_gpu) -> None:
    def mixed() -> Tensor:
        return torch.zeros(3, device="cuda") + torch.ones(3)

    with pytest.raises(RuntimeError, match="same device"):
        on_gpu(mixed)
    with pytest.raises(TypeError, match="to numpy"):
        on_gpu(lambda: torch.zeros(3, device="cuda").numpy())

    def doubled() -> list[float]:
        there = torch.arange(6.0).to("cuda").reshape(2, 3)[1] * torch.tensor(2.0)
        assert there.device.type == "cuda"
        assert there.cpu().device.type == "cpu"
        return there.cpu().tolist()

    assert on_gpu(doubled) == [6, 8, 10]


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="PyTorch is built without CUDA")
def test_operators_without_a_cuda_kernel_are_known() -> None:
    assert has_cuda_kernel(torch.ops.aten.add.Tensor)
    assert not has_cuda_kernel(torch.ops.aten.mkldnn_max_pool2d.default)


def test_spillover_is_undone_alike(on_gpu) -> None:
    counts, unmixing = torch.rand(3, 40, 40) * 4095, torch.eye(3) - 0.1

    def undone(device: str) -> np.ndarray:
        return undo_spillover(counts.to(device), unmixing.to(device), 4095).cpu().numpy()

    np.testing.assert_array_equal(on_gpu(undone, "cuda"), undone("cpu"))


def test_a_scan_is_the_same(on_gpu, checkpoint, tmp_path) -> None:
    words = ["--layout", "ome-tiff", "--panel", "ctc5", "--frames", "4", "--nuclei-per-frame", "25", "--ctc", "2"]
    words += ["--clusters-neutrophil", "1", "--seed", "4", "--frame-size-px", "240x200"]
    assert main(["simulate", "cartridge", str(tmp_path / "c"), *words]) == 0

    def scan(device: str) -> int:
        options = ["--panel", "ctc5", "--model", str(checkpoint), "-o", str(tmp_path / device), "--threads", "2"]
        return main(["scan", str(tmp_path / "c"), *options, "--device", device])

    assert scan("cpu") == 0
    assert on_gpu(scan, "cuda") == 0
    tables = [parquet.read_table(tmp_path / device / "c" / "events.parquet") for device in ("cpu", "cuda")]
    assert tables[0].num_rows > 50
    assert tables[0].equals(tables[1])
    plan = json.loads((tmp_path / "cuda" / "c" / "quality.json").read_text())["plan"]
    assert plan["device"] == "cuda"


def test_crops_are_classified_and_evaluated_alike(on_gpu, checkpoint, crops, tmp_path) -> None:
    def answers(device: str) -> np.ndarray:
        out = tmp_path / f"{device}.parquet"
        assert main(["classify", str(checkpoint), str(crops), "-o", str(out), "--device", device]) == 0
        table = parquet.read_table(out).to_pandas()
        return table.filter(like="p_").to_numpy()

    def figures(device: str) -> dict:
        out = tmp_path / f"evaluation_{device}"
        words = ["evaluate", str(checkpoint), str(crops / "manifest.csv"), "-o", str(out), "--device", device]
        assert main(words) == 0
        return json.loads((out / "metrics.json").read_text())["confusion"]

    np.testing.assert_array_equal(on_gpu(answers, "cuda"), answers("cpu"))
    assert on_gpu(figures, "cuda") == figures("cpu")


def test_crops_are_simulated_alike(on_gpu, crops, tmp_path) -> None:
    words = ["--count", "60", "--groups", "6", "--seed", "1", "--crop-size-px", "32", "--effects", "all"]
    there = tmp_path / "crops"
    assert on_gpu(main, ["simulate", "crops", str(there), *words, "--device", "cuda"]) == 0
    names = sorted(path.relative_to(crops) for path in crops.rglob("*.tif"))
    assert len(names) == 60
    assert all((there / name).read_bytes() == (crops / name).read_bytes() for name in names)


def test_crops_are_augmented_and_answered_alike(on_gpu) -> None:
    settings = Augmentation(
        backend="device", dihedral=True, affine=1.0, rotate_deg=20, shift_px=3, zoom=0.1, gain=0.2, offset=0.02,
        defocus=0.5, defocus_px=1.0, shot_noise=0.5, channel_drop=0.1,
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_classifier("compact", PANEL.roles, 5).eval()
    counts, levels = torch.rand(6, 5, 32, 32) * 4000, torch.full((6, 5), 100.0)
    seeds = torch.arange(6)

    def answer(device: str) -> np.ndarray:
        with torch.no_grad():
            inputs = (value.to(device) for value in (counts.clone(), levels, 4 * levels, seeds))
            augmented = DeviceAugmentation(settings, 4095.0).to(device)(*inputs)
            logits = network.to(device)((augmented - 100) / 400, None, seeds.to(device)).logits
            return np.concatenate([augmented.flatten(1).cpu().numpy(), logits.cpu().numpy()], axis=1)

    here = answer("cpu")
    np.testing.assert_array_equal(on_gpu(answer, "cuda"), here)


@pytest.mark.parametrize(("precision", "normalization"), [("32-true", "auto"), ("bf16-mixed", "per_crop")])
def test_training_goes_through_and_on(precision, normalization, on_gpu, crops, tmp_path, monkeypatch) -> None:
    """Everything but derivatives: the engine that makes them wants a real device, so that no weight is learnt."""
    steps: list[str] = []
    monkeypatch.setattr(Tensor, "backward", lambda loss, *_, **__: steps.append(loss.device.type))
    words = ["--config", "five_class", "--data.manifest", str(crops / "manifest.csv"), "--run_dir", str(tmp_path / "r")]
    words += ["--data.crop_size_px", "32", "--data.least_steps_per_epoch", "1", "--data.normalization", normalization]
    words += ["--trainer.accelerator", "gpu", "--trainer.precision", precision]

    def train(subcommand: str, *more: str) -> int:
        return main(["train", subcommand, *words, *more])

    assert on_gpu(train, "fit", "--trainer.max_epochs", "1") == 0
    assert on_gpu(train, "fit", "--trainer.max_epochs", "2", "--ckpt_path", "last") == 0
    assert steps == ["cuda"] * 2
    assert on_gpu(train, "test") == 0
    assert train("validate", "--trainer.accelerator", "cpu") == 0  # what a GPU wrote is read without one
