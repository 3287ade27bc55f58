"""Writing one ONNX file that old runtimes load: low IR version, no unused imports, no external data."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ctcnet.contract.fields import CONTRACT_VERSION, LEAST_ONNXRUNTIME, card_properties
from ctcnet.errors import SettingError
from ctcnet.export.crop_graph import CropGraph, ExportablePredictor
from ctcnet.export.made_with import made_with
from ctcnet.model_card import ModelCard
from ctcnet.runtime.cartridge_atypicality import CartridgeReference
from ctcnet.runtime.onnx_predictor import CARTRIDGE_PROPERTY, INPUTS, OUTPUTS

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

IR_VERSION = 9
"""Newest IR version that onnxruntime 1.17 loads; torch writes 10, whose additions the graph does not use."""

OPSETS = (18,)
"""Opsets that can be asked for: torch's exporter translates to 18, and onnxruntime 1.14 and later run it."""

_LARGEST_MERGED = 2**20
"""Values of a constant beyond which it is not compared with others."""
INPUT_DTYPES = {"uint16": torch.uint16, "float32": torch.float32}


def trace(predictor: ExportablePredictor, opset: int, input_dtype: str) -> onnx.ModelProto:
    """ONNX model of a checkpoint's crop graph: batch axis dynamic, IR version lowered; unchecked, without metadata.

    Args:
        predictor: a loaded checkpoint on the CPU.
        opset: one of `OPSETS`.
        input_dtype: type of the graph's crops, one of `INPUT_DTYPES`.

    Raises:
        SettingError: opset or input type is none of those on offer.
    """
    if opset not in OPSETS:
        raise SettingError("opset cannot be written", expected=" or ".join(map(str, OPSETS)), found=str(opset))
    if input_dtype not in INPUT_DTYPES:
        raise SettingError("unknown input type", expected=" or ".join(INPUT_DTYPES), found=input_dtype)
    card = predictor.card
    channels, side = len(card.panel.channels), card.crop_size_px
    # a batch of 1 would be specialised to 1
    crops = torch.zeros(2, channels, side, side, dtype=INPUT_DTYPES[input_dtype])
    levels = torch.full((channels,), torch.nan)
    with torch.no_grad(), quiet():
        graph = CropGraph(predictor.network.deployable(), card, predictor.atypicality)
        program = torch.onnx.export(
            graph.eval(),
            (crops, levels, levels.clone()),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes={"crops": {0: torch.export.Dim("batch")}, "background": None, "scale": None},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    _compute_once(program.model)
    return for_old_runtimes(program.model_proto)


def _compute_once(model: ir.Model) -> None:
    """Merge constants of equal values, and then nodes that compute the same: what networks and scores share."""
    from onnx_ir.passes import common as passes

    passes.DeduplicateInitializersPass(size_limit=_LARGEST_MERGED)(model)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)


def for_old_runtimes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Lower the IR version and drop what it does not know: properties of nodes and values, imports not used."""
    model.ir_version = IR_VERSION
    graph = model.graph
    for items in ([graph], graph.node, graph.initializer, graph.value_info, graph.input, graph.output):
        for item in items:
            del item.metadata_props[:]
            item.doc_string = ""
    used = {node.domain for node in model.graph.node} | {node.domain for f in model.functions for node in f.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def metadata(
    card: ModelCard,
    graph: str,
    opset: int,
    input_dtype: str,
    golden_sample: str,
    cartridges: CartridgeReference | None = None,
) -> dict[str, str]:
    """Metadata properties of the file, those of `ctcnet.contract.fields.FIELDS`.

    Args:
        card: the model's.
        graph: kind of graph.
        opset, input_dtype: as traced.
        golden_sample: text of a sample with the answers to it.
        cartridges: reference of cartridges, where the model has one.
    """
    reference = {} if cartridges is None else {CARTRIDGE_PROPERTY: cartridges.to_text()}
    return reference | {
        "contract": str(CONTRACT_VERSION),
        "graph": graph,
        "input_dtype": input_dtype,
        "opset": str(opset),
        "ir_version": str(IR_VERSION),
        "least_onnxruntime": LEAST_ONNXRUNTIME,
        "made_with": json.dumps(made_with()),
        **card_properties(card, graph),
        "golden_sample": golden_sample,
    }


def write_model(model: onnx.ModelProto, properties: dict[str, str], path: Path) -> None:
    """Check a model and write it as one file."""
    import onnx

    onnx.helper.set_model_props(model, properties)
    model.doc_string = properties["intended_use"]
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path), save_as_external_data=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress notes and warnings off the console; its exceptions still come through."""
    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
