"""From a checkpoint to an ONNX file with its card beside it."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.contract.golden_sample import check_golden
from ctcnet.contract.sbom import sbom_path
from ctcnet.errors import OutputError, SettingError
from ctcnet.export.crop_graph import ExportablePredictor
from ctcnet.export.golden_crops import golden_sample
from ctcnet.export.onnx_file import metadata, trace, write_model
from ctcnet.export.parity import LARGEST_DIFFERENCE, Parity, check_parity
from ctcnet.export.precision import Reduced, Reduction, write_reduced
from ctcnet.model_card import ModelCard
from ctcnet.output import check_output, new_output_files
from ctcnet.runtime import OnnxPredictor, SessionSettings
from ctcnet.runtime.signature_file import signature_path


@dataclass(frozen=True)
class ExportResult:
    """An export that went through.

    Attributes:
        model, card, readme: the files written.
        parity: what the comparison of the float32 model with the checkpoint found.
        reduced: the model of another precision that the file holds; None where it holds the float32 one.
    """

    model: Path
    card: Path
    readme: Path
    parity: Parity
    reduced: Reduced | None = None


def export_predictor(
    predictor: ExportablePredictor,
    output: str | Path,
    *,
    opset: int = 18,
    input_dtype: str = "uint16",
    overwrite: bool = False,
    reduction: Reduction | None = None,
) -> ExportResult:
    """Write `output`, and beside it `<stem>.card.json` and `<stem>.README.md`.

    The file is compared with the checkpoint first; when they differ nothing is left. Files that are replaced go as a
    set, see `new_model_files`.

    Args:
        predictor: a loaded checkpoint on the CPU.
        output: path that ends in .onnx.
        opset: ONNX opset, 18.
        input_dtype: 'uint16' or 'float32', the type of the graph's crops.
        overwrite: whether files that exist may be replaced.
        reduction: precision other than float32, and the crops for it. The float32 model is compared with the
            checkpoint, and the other with the float32 model.

    Raises:
        SettingError: another ending, opset or type, or an unknown layer to keep in float32.
        OutputError: a file exists already or cannot be written.
        ModelPanelError: the crops of the reduction are of another panel.
        ParityError, ContractError: the file does not give the checkpoint's answers.
    """
    output, card_path, readme_path = check_export_output(output, overwrite=overwrite)
    with new_model_files(output, overwrite=overwrite) as parts:
        parity, reduced = write_crop_graph(predictor, parts[0], output, opset, input_dtype, reduction)
        write_card(predictor.card if reduced is None else reduced.card, *parts[1:])
    return ExportResult(output, card_path, readme_path, parity, reduced)


def write_crop_graph(
    predictor: ExportablePredictor,
    path: Path,
    where: Path,
    opset: int,
    input_dtype: str,
    reduction: Reduction | None,
) -> tuple[Parity, Reduced | None]:
    """Write a crop graph that gives the checkpoint's answers; what the comparisons found, as in `ExportResult`.

    Args:
        predictor: a loaded checkpoint on the CPU.
        path: file to write.
        where: name of the file in errors.
        opset, input_dtype, reduction: as `export_predictor`.

    Raises:
        SettingError, ModelPanelError, ParityError, ContractError: as `export_predictor`.
    """
    card = predictor.card
    model = trace(predictor, opset, input_dtype)
    dtype = np.dtype(input_dtype)
    golden = golden_sample(predictor, dtype, LARGEST_DIFFERENCE)

    def properties(card: ModelCard, sample: str) -> dict[str, str]:
        return metadata(card, "crop", opset, input_dtype, sample, predictor.cartridge_reference)

    def reduced_properties(card: ModelCard, reduced: OnnxPredictor | None) -> dict[str, str]:
        band = card.guard_band
        return properties(card, "" if reduced is None else golden_sample(reduced, dtype, band, band).to_text())

    write_model(model, properties(card, golden.to_text()), path)
    exported = OnnxPredictor(path, SessionSettings(threads=1))
    parity = check_parity(predictor, exported, where, dtype)
    check_golden(golden, exported, dtype, where)
    if reduction is None:
        return parity, None
    return parity, write_reduced(model, exported, reduction, reduced_properties, path, where)


def check_export_output(output: str | Path, *, overwrite: bool) -> tuple[Path, Path, Path]:
    """Paths of the model, its card and its README, each checked before any work is done.

    Raises:
        SettingError: `output` does not end in .onnx.
        OutputError: a file exists already, cannot be written or is a folder.
    """
    output = Path(output)
    if output.suffix != ".onnx":
        raise SettingError("output is no .onnx file", where=output, fix="give a path that ends in .onnx")
    card, readme = _described_in(output)
    for path in (output, card, readme, *_outdated(output)):
        check_output(path, overwrite=overwrite)
        if path.is_dir():
            raise OutputError("is a folder", where=path, expected="the path of a file", fix="choose another place")
    return output, card, readme


def new_model_files(output: Path, *, overwrite: bool) -> AbstractContextManager[tuple[Path, ...]]:
    """Paths to write a model, its card and its README to; on success they come to their places.

    A card never lies beside a model that it does not describe, wherever the exchange is interrupted: see
    `new_output_files`. The signature and the bill of materials of a model that is replaced are removed with its card.

    Raises:
        OutputError: as `check_export_output`.
    """
    return new_output_files(output, _described_in(output), _outdated(output), overwrite=overwrite)


def write_card(card: ModelCard, card_path: Path, readme_path: Path) -> None:
    """Write the card as JSON and as a page for people."""
    card_path.write_text(json.dumps(card.to_dict(), indent=2) + "\n", encoding="utf-8")
    readme_path.write_text(card.to_markdown(), encoding="utf-8")


def _described_in(output: Path) -> tuple[Path, Path]:
    """Card and README of a model."""
    return output.with_suffix(".card.json"), output.with_suffix(".README.md")


def _outdated(output: Path) -> tuple[Path, Path]:
    """Signature and bill of materials of a model that is replaced."""
    return signature_path(output), sbom_path(output)
