"""Model checkpoints: weights and a card as plain data, loaded without running any code that a file may hold."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ctcnet.errors import CtcnetError, ModelFileError, OutputError
from ctcnet.model_card import ModelCard
from ctcnet.model_card_reading import card_from_dict
from ctcnet.networks import CellClassifier, build_classifier
from ctcnet.runtime.cartridge_atypicality import CartridgeReference, reference_from_text
from ctcnet.training.shipped_weights import check_finite
from ctcnet.training.torch_predictor import TorchPredictor
from ctcnet.uncertainty import Atypicality, atypicality_from_state, num_crop_statistics

CARD_KEY = "ctcnet_card"
ATYPICALITY_KEY = "ctcnet_atypicality"
"""State of the model's `Atypicality`; checkpoints without one have none."""
CARTRIDGES_KEY = "ctcnet_cartridges"
"""Text of the model's `CartridgeReference`, likewise."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint as plain data on the CPU.

    Raises:
        ModelFileError: no such file, not a checkpoint, damaged, or it holds pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError("there is no such checkpoint", where=path, fix="check the path")
    _check_bytes(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as cause:
        raise ModelFileError(
            "holds more than weights and plain data, or is damaged, and is not loaded",
            where=path,
            expected="a checkpoint written by ctcnet",
            found=_refused_type(str(cause)),
            fix="use a checkpoint from a source you trust, written by ctcnet",
        ) from cause
    except Exception as cause:  # on damaged files the unpickler raises nearly every kind of exception
        raise ModelFileError(
            f"is damaged or no checkpoint ({type(cause).__name__})", where=path, fix="copy or train it again"
        ) from cause
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ModelFileError("is no checkpoint of ctcnet", where=path, expected="an entry 'state_dict'")
    return content


def _check_bytes(path: Path) -> None:
    """Raise ModelFileError where a part of the file is not what was written; torch loads it without looking."""
    if not zipfile.is_zipfile(path):
        return  # torch says what is wrong with it
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as cause:  # on damaged files zipfile raises several kinds of exception
        raise ModelFileError(f"is damaged ({cause})", where=path, fix="copy or train it again") from cause
    if damaged is not None:
        raise ModelFileError(
            "is damaged: its bytes are not those that were written",
            where=path,
            found=f"another checksum of its part {damaged}",
            fix="copy or train it again",
        )


def _refused_type(message: str) -> str:
    """What torch would not load, without its advice to load it all the same."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    return f"an object of {named[1]}" if named else "something else than weights, numbers and text"


def write_model(
    path: Path,
    network: nn.Module,
    card: ModelCard,
    epoch: int,
    step: int,
    *,
    atypicality: Atypicality | None = None,
    cartridge_reference: CartridgeReference | None = None,
) -> None:
    """Write the weights and the card of a trained classifier; the file appears whole or not at all."""
    import lightning  # reading a model does without it

    content: dict[str, Any] = {
        "state_dict": {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()},
        CARD_KEY: card.to_dict(),
        "epoch": epoch,
        "global_step": step,
        "pytorch-lightning_version": lightning.__version__,
    }
    if atypicality is not None:
        content[ATYPICALITY_KEY] = {name: value.cpu().clone() for name, value in atypicality.state_dict().items()}
    if cartridge_reference is not None:
        content[CARTRIDGES_KEY] = cartridge_reference.to_text()
    with whole_checkpoint(path) as part:
        torch.save(content, part)


@contextmanager
def whole_checkpoint(path: Path) -> Iterator[Path]:
    """Give a path to write to; on success it becomes `path`, on failure nothing is left of it.

    Raises:
        OutputError: the disk is full or cannot be written; torch reports that as a RuntimeError.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    except (OSError, RuntimeError) as cause:
        part.unlink(missing_ok=True)
        reason = cause.strerror if isinstance(cause, OSError) else str(cause).splitlines()[0][:160]
        raise OutputError(f"could not be written ({reason})", where=path, fix="see to the disk's free space") from cause


def card_of(content: dict[str, Any], where: str | Path) -> ModelCard:
    """Card of a checkpoint's content.

    Raises:
        ModelFileError: there is none, or it is malformed.
    """
    if CARD_KEY not in content:
        raise ModelFileError(
            "has no model card",
            where=where,
            expected="a finished model, best.ckpt of a run folder",
            fix="use best.ckpt; last.ckpt is for resuming a run",
        )
    return card_from_dict(content[CARD_KEY], where=where)


def network_from(content: dict[str, Any], card: ModelCard, where: str | Path) -> CellClassifier:
    """Network with the weights of a checkpoint's content, in evaluation mode on the CPU.

    Raises:
        ModelFileError: weights do not fit the card, or are no finite numbers.
    """
    try:
        network = build_classifier(card.backbone, card.panel.roles, len(card.labels.classes))
    except CtcnetError as error:
        raise ModelFileError(error.what, where=where, expected=error.expected, fix="see to the card") from error
    check_weights(content["state_dict"], network.state_dict(), where)
    check_finite(content["state_dict"], where)
    network.load_state_dict(content["state_dict"])
    return network.eval()


def check_weights(found: Any, wanted: Mapping[str, Any], where: str | Path) -> None:
    """Raise ModelFileError unless `found` holds a tensor of the right shape for every name in `wanted`, and no more."""
    if not isinstance(found, Mapping):
        raise ModelFileError("has no weights", where=where, found=type(found).__name__, fix="copy or train it again")
    missing, unknown = [name for name in wanted if name not in found], [name for name in found if name not in wanted]
    shapes = {name: getattr(value, "shape", None) for name, value in found.items()}
    other = [name for name in wanted if name in found and shapes[name] != wanted[name].shape]
    problems = {"missing": missing, "not known": unknown, "of another shape": other}
    if any(problems.values()):
        raise ModelFileError(
            "weights do not fit the network that ctcnet builds from the card or settings",
            where=where,
            expected=f"{len(wanted)} tensors",
            found="; ".join(f"{len(names)} {word}, such as {names[0]}" for word, names in problems.items() if names),
            fix="use the file as ctcnet wrote it, with the version of ctcnet and the settings that it was trained with",
        )


def atypicality_of(content: dict[str, Any], network: CellClassifier, where: str | Path) -> Atypicality | None:
    """Score of crops in a checkpoint's content, or None where it has none.

    Raises:
        ModelFileError: it is malformed, or another network's.
    """
    if ATYPICALITY_KEY not in content:
        return None
    widths = network.head.in_features, num_crop_statistics(len(network.backbone.stem.slots))
    return atypicality_from_state(content[ATYPICALITY_KEY], *widths, where=where)


def cartridge_reference_of(
    content: dict[str, Any], network: CellClassifier, where: str | Path
) -> CartridgeReference | None:
    """Reference of cartridges in a checkpoint's content, or None where it has none; errors as `atypicality_of`."""
    if CARTRIDGES_KEY not in content:
        return None
    return reference_from_text(str(content[CARTRIDGES_KEY]), network.head.in_features, where)


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> TorchPredictor:
    """Load a trained classifier.

    Args:
        path: `best.ckpt` of a run folder.
        device: where to run it.

    Raises:
        ModelFileError: the file cannot be used; says why.
    """
    content = read_checkpoint(path)
    card = card_of(content, path)
    network = network_from(content, card, path)
    return TorchPredictor(
        network,
        card,
        device,
        atypicality=atypicality_of(content, network, path),
        cartridge_reference=cartridge_reference_of(content, network, path),
    )
