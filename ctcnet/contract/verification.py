"""Whether a model file is what it says of itself, and answers here as it did where it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ctcnet.contract.field_check import check_fields, graph_of
from ctcnet.contract.golden_frame import check_golden_frame, golden_frame_from_text
from ctcnet.contract.golden_sample import check_golden, golden_from_text
from ctcnet.contract.golden_values import check_tolerances
from ctcnet.contract.signing import check_signature
from ctcnet.model_card import ModelCard
from ctcnet.runtime.frame_predictor import FramePredictor
from ctcnet.runtime.model_file import ModelFile, read_model_file
from ctcnet.runtime.onnx_predictor import OnnxPredictor
from ctcnet.runtime.signature_file import stated_sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LARGEST_POSITION_TOLERANCE_PX = 0.5
"""Two events are one where they are no farther apart, in every comparison of a frame graph."""


def verify(path: Path, public_key: Ed25519PublicKey | None = None) -> Iterator[tuple[str, str]]:
    """Check a file step by step: its form, its signature, its metadata, its golden sample.

    Args:
        path: an ONNX file.
        public_key: of whoever must have signed it; None takes any signature, or none.

    Yields:
        What was checked, and what was found, in words.

    Raises:
        ModelFileError: the first thing that is not as it should be; of the class ContractError where the file says
            something else than it holds, or answers otherwise.
    """
    file = read_model_file(path, stated_sha256(path))
    yield _form(file)
    yield "signature", check_signature(path, file.content, public_key)
    yield from _STEPS[graph_of(file, path)](file, path)


def verify_content(file: ModelFile, path: Path) -> Iterator[tuple[str, str]]:
    """The steps of `verify` but the signature, for a file that was read.

    Raises: as `verify`, and where the file is another by now.
    """
    yield _form(file)
    yield from _STEPS[graph_of(file, path)](file, path)


def _form(file: ModelFile) -> tuple[str, str]:
    versions = f"IR {file.ir_version}, opset {file.opset}, {len(file.operators)} standard operators, no external data"
    return "file", f"{len(file.content) / 1e6:.2f} MB, sha256 {file.sha256[:16]}..., {versions}"


def _verify_crop_graph(file: ModelFile, path: Path) -> Iterator[tuple[str, str]]:
    predictor = OnnxPredictor(path, expected_sha256=file.sha256)
    count = check_fields(file, "crop", predictor.card, predictor.input_dtype.name, path)
    yield "metadata", f"{count} properties, as the card and the graph say"
    sample = golden_from_text(file.properties["golden_sample"], path)
    check_tolerances(vars(sample), _limits(predictor.card), "sample", path)
    found = check_golden(sample, predictor, predictor.input_dtype, path)
    worst = f"{found.probability:.2g} in a probability, {found.atypicality:.2g} in an atypicality"
    yield "golden sample", f"{found.answers} answers as stored: largest difference {worst}; every decision equal"


def _verify_frame_graph(file: ModelFile, path: Path) -> Iterator[tuple[str, str]]:
    predictor = FramePredictor(path, expected_sha256=file.sha256)
    count = check_fields(file, "frame", predictor.card, "uint16", path)
    yield "metadata", f"{count} properties, as the card and the graph say"
    golden = golden_frame_from_text(file.properties["golden_frame"], path)
    limits = _limits(predictor.card) | {"position_tolerance_px": LARGEST_POSITION_TOLERANCE_PX}
    check_tolerances(vars(golden), limits, "frame", path)
    worst = check_golden_frame(golden, predictor, path)
    number = len(golden.events.x_px)
    yield "golden frame", f"{number} events as stored: largest difference {worst:.2g} in a probability"


def _limits(card: ModelCard) -> dict[str, float]:
    """Largest tolerances of golden answers: within the guard band runtimes may differ, beyond it they must not."""
    return dict.fromkeys(("probability_tolerance", "atypicality_tolerance"), card.guard_band)


_STEPS: Mapping[str, Callable[[ModelFile, Path], Iterator[tuple[str, str]]]] = {
    "crop": _verify_crop_graph,
    "frame": _verify_frame_graph,
}
"""Kind of graph -> its own steps."""
