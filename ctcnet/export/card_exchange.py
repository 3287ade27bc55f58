"""A copy of an exported file with another card: the graph and its golden sample stay as they are."""

from __future__ import annotations

from pathlib import Path

from ctcnet.contract.field_check import graph_of
from ctcnet.contract.fields import card_properties
from ctcnet.contract.verification import verify
from ctcnet.export.export import check_export_output, new_model_files, write_card
from ctcnet.export.onnx_file import write_model
from ctcnet.model_card import ModelCard
from ctcnet.output import check_not_input
from ctcnet.runtime.model_file import read_model_file
from ctcnet.runtime.signature_file import stated_sha256


def write_with_card(source: Path, card: ModelCard, output: Path, *, overwrite: bool) -> list[tuple[str, str]]:
    """Write `output`, and beside it its card and README as export does.

    The copy is verified before it comes to its place. A signature of `source` is none of the copy.

    Args:
        source: file written by `ctcnet export`.
        card: describes the same graph.
        output: path that ends in .onnx, not `source`.
        overwrite: whether files that exist may be replaced.

    Returns:
        What was verified and what was found, in words, see `verify`.

    Raises:
        SettingError: another ending.
        OutputError: a file exists already, is `source`, or cannot be written.
        ModelFileError: `source` cannot be read or was changed beside its signature, or the copy fails a check.
    """
    import onnx

    check_export_output(output, overwrite=overwrite)
    check_not_input(output, source)
    file = read_model_file(source, stated_sha256(source))
    model = onnx.load_model_from_string(file.content)
    properties = dict(file.properties) | card_properties(card, graph_of(file, source))
    with new_model_files(output, overwrite=overwrite) as parts:
        write_model(model, properties, parts[0])
        write_card(card, *parts[1:])
        return list(verify(parts[0]))
