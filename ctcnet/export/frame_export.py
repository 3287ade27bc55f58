"""From a checkpoint to a frame graph in an ONNX file, with its card beside it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

from ctcnet.contract.fields import CONTRACT_VERSION, LEAST_ONNXRUNTIME, card_properties
from ctcnet.errors import SettingError
from ctcnet.export.crop_graph import ExportablePredictor
from ctcnet.export.export import check_export_output, new_model_files, write_card, write_crop_graph
from ctcnet.export.frame_graph.graph import build_frame_graph
from ctcnet.export.frame_parity import FrameParity, check_frame_parity
from ctcnet.export.golden_frame import golden_frame
from ctcnet.export.made_with import made_with
from ctcnet.export.onnx_file import IR_VERSION, for_old_runtimes, trace, write_model
from ctcnet.export.precision import Reduced, Reduction
from ctcnet.model_card import ModelCard
from ctcnet.runtime import OnnxPredictor, Predictor, SessionSettings
from ctcnet.runtime.frame_predictor import KIND_NAMES, LEVEL_SOURCES, MAX_EVENTS, FramePredictor
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.platform import Platform
from ctcnet.scan.preprocess.spillover import unmixing_matrix

OPSET = 18


@dataclass(frozen=True)
class FrameExportResult:
    """An export that went through.

    Attributes:
        model, card, readme: the files written.
        parity: what the comparison with the scan found.
        reduced: what the gate of the crop graph found, where the network is of another precision than float32.
    """

    model: Path
    card: Path
    readme: Path
    parity: FrameParity
    reduced: Reduced | None = None


def export_frame_graph(
    predictor: ExportablePredictor,
    output: str | Path,
    *,
    platform: Platform,
    pixel_size_um: float,
    overwrite: bool = False,
    reduction: Reduction | None = None,
) -> FrameExportResult:
    """Write `output`, and beside it `<stem>.card.json` and `<stem>.README.md`.

    The file is compared with the scan's detection, cutting and the checkpoint on a simulated frame first; when they
    differ nothing is left. Files that are replaced go as a set, see `new_model_files`. A network of another precision
    is that of the crop graph, made and judged in the same way: the scan it is compared with runs that crop graph.

    Args:
        predictor: a loaded checkpoint on the CPU.
        output: path that ends in .onnx.
        platform: the scanner, whose detection settings and spillover go into the graph.
        pixel_size_um: micrometres per pixel of the frames.
        overwrite: whether files that exist may be replaced.
        reduction: precision other than float32 of the network, and the crops for it; detection stays in float32.

    Raises:
        SettingError: another ending, a pixel size or settings that the detector cannot work with, a panel without one
            channel of role nucleus, or an unknown layer to keep in float32.
        OutputError: a file exists already or cannot be written.
        ModelPanelError: the crops of the reduction are of another panel.
        ParityError: the file does not give the scan's events, or the reduced network not the decisions of float32.
    """
    output, card_path, readme_path = check_export_output(output, overwrite=overwrite)
    detector = EventDetector(platform.detection, predictor.card.panel.roles, pixel_size_um)
    unmixing = unmixing_matrix(platform, predictor.card.panel)
    with tempfile.TemporaryDirectory() as folder, new_model_files(output, overwrite=overwrite) as parts:
        part, *described_in = parts
        crops, reference, reduced = _crop_graph(predictor, reduction, Path(folder) / "crops.onnx", output)
        card = reference.card
        model = for_old_runtimes(build_frame_graph(detector, unmixing, crops, card))
        properties = _metadata(card, platform, pixel_size_um)
        write_model(model, properties, part)
        golden = golden_frame(FramePredictor(part), output)
        write_model(model, properties | {"golden_frame": golden.to_text()}, part)
        parity = check_frame_parity(reference, detector, unmixing, FramePredictor(part), output)
        write_card(card, *described_in)
    return FrameExportResult(output, card_path, readme_path, parity, reduced)


def _crop_graph(
    predictor: ExportablePredictor, reduction: Reduction | None, path: Path, where: Path
) -> tuple[onnx.ModelProto, Predictor, Reduced | None]:
    """Network for crops of float32 counts, the predictor that the frame graph is to decide like, and its gate.

    Args:
        predictor: the checkpoint.
        reduction: None for float32.
        path: file that a network of another precision is written to.
        where: file that errors name.
    """
    if reduction is None:
        return trace(predictor, OPSET, "float32"), predictor, None
    _, reduced = write_crop_graph(predictor, path, where, OPSET, "float32", reduction)
    return onnx.load(str(path)), OnnxPredictor(path, SessionSettings(threads=1)), reduced


def frame_pixel_size_um(given: float | None, platform: Platform, card: ModelCard) -> float:
    """Pixel size of the frames: the one given, or else the platform's, or else that which the panel states.

    Raises:
        SettingError: none of them says.
    """
    sizes = (given, platform.pixel_size_um, card.panel.pixel_size_um)
    size = next((size for size in sizes if size is not None), None)
    if size is None:
        raise SettingError(
            "pixel size of the frames is not known",
            where=f"platform '{platform.name}' and panel '{card.panel.name}'",
            fix="state it with --pixel-size-um, or name the scanner with --platform",
        )
    return size


def _metadata(card: ModelCard, platform: Platform, pixel_size_um: float) -> dict[str, str]:
    """Metadata properties of the file, those of `ctcnet.contract.fields.FIELDS` but the golden frame."""
    return {
        "contract": str(CONTRACT_VERSION),
        "graph": "frame",
        "input_dtype": "uint16",
        "opset": str(OPSET),
        "ir_version": str(IR_VERSION),
        "least_onnxruntime": LEAST_ONNXRUNTIME,
        "made_with": json.dumps(made_with()),
        **card_properties(card, "frame"),
        "frame_pixel_size_um": repr(pixel_size_um),
        "max_events": str(MAX_EVENTS),
        "kinds": ",".join(KIND_NAMES),
        "level_sources": ",".join(LEVEL_SOURCES),
        "detection": json.dumps(asdict(platform.detection)),
        "platform": platform.name,
    }
