"""From a checkpoint to an ONNX file with its card beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ctcnet.contract.golden_sample import check_golden
from ctcnet.contract.sbom import sbom_path
from ctcnet.errors import SettingError
from ctcnet.export.crop_graph import CropGraph, ExportablePredictor
from ctcnet.export.golden_crops import golden_sample
from ctcnet.export.onnx_file import metadata, trace, write_model
from ctcnet.export.parity import LARGEST_DIFFERENCE, Parity, check_parity
from ctcnet.model_card import ModelCard
from ctcnet.output import check_output, new_output_file
from ctcnet.runtime import OnnxPredictor
from ctcnet.runtime.signature_file import signature_path


@dataclass(frozen=True)
class ExportResult:
    """An export that went through.

    Attributes:
        model, card, readme: the files written.
        parity: what the comparison with the checkpoint found.
    """

    model: Path
    card: Path
    readme: Path
    parity: Parity


def export_predictor(
    predictor: ExportablePredictor,
    output: str | Path,
    *,
    opset: int = 18,
    input_dtype: str = "uint16",
    overwrite: bool = False,
) -> ExportResult:
    """Write `output`, and beside it `<stem>.card.json` and `<stem>.README.md`.

    The file is compared with the checkpoint first; when they differ nothing is left.

    Args:
        predictor: a loaded checkpoint on the CPU.
        output: path that ends in .onnx.
        opset: ONNX opset, 18.
        input_dtype: 'uint16' or 'float32', the type of the graph's crops.
        overwrite: whether files that exist may be replaced.

    Raises:
        SettingError: another ending, opset or type.
        OutputError: a file exists already or cannot be written.
        ParityError, ContractError: the file does not give the checkpoint's answers.
    """
    output, card_path, readme_path = check_export_output(output, overwrite=overwrite)
    card = predictor.card
    with torch.no_grad():
        graph = CropGraph(predictor.network.deployable(), card, predictor.atypicality)
        model = trace(graph, card, opset, input_dtype)
    dtype = np.dtype(input_dtype)
    golden = golden_sample(predictor, dtype, LARGEST_DIFFERENCE)
    properties = metadata(card, "crop", opset, input_dtype, golden.to_text(), predictor.cartridge_reference)
    with new_output_file(output, overwrite=overwrite) as part:
        write_model(model, properties, part)
        exported = OnnxPredictor(part)
        parity = check_parity(predictor, exported, output, dtype)
        check_golden(golden, exported, dtype, output)
        write_card(card, card_path, readme_path, overwrite)
        for older in (signature_path(output), sbom_path(output)):  # of the file that is replaced
            older.unlink(missing_ok=True)
    return ExportResult(output, card_path, readme_path, parity)


def check_export_output(output: str | Path, *, overwrite: bool) -> tuple[Path, Path, Path]:
    """Paths of the model, its card and its README, each checked before any work is done.

    Raises:
        SettingError: `output` does not end in .onnx.
        OutputError: a file exists already or cannot be written.
    """
    output = Path(output)
    if output.suffix != ".onnx":
        raise SettingError("output is no .onnx file", where=output, fix="give a path that ends in .onnx")
    card, readme = output.with_suffix(".card.json"), output.with_suffix(".README.md")
    for path in (output, card, readme, signature_path(output), sbom_path(output)):
        check_output(path, overwrite=overwrite)
    return output, card, readme


def write_card(card: ModelCard, card_path: Path, readme_path: Path, overwrite: bool) -> None:
    """Write the card as JSON and as a page for people."""
    texts = {card_path: json.dumps(card.to_dict(), indent=2) + "\n", readme_path: card.to_markdown()}
    for path, text in texts.items():
        with new_output_file(path, overwrite=overwrite) as part:
            part.write_text(text, encoding="utf-8")
