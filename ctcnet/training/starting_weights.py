"""Weights that training starts from: a shipped model's or a checkpoint's, taken over by role.

Parameters of roles are keyed by role, so that they keep their names whatever the panel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ctcnet.errors import ModelFileError, SettingError
from ctcnet.networks import CellClassifier
from ctcnet.training.checkpoint import card_of, read_checkpoint
from ctcnet.training.shipped_weights import (
    WEIGHTS_FILE,
    check_finite,
    find_shipped,
    read_shipped,
    shipped_words,
)

Freeze = Literal["none", "stem", "backbone"]
ACCEPTED = "a checkpoint (.ckpt) or a run folder with best.ckpt"
NUCLEUS = "nucleus"
"""Role that every panel of the shipped models' training has."""
_ROLE_PARAMETERS = ("filters", "projection", "role_bias", "deviation")


@dataclass(frozen=True)
class StartingWeights:
    """Weights to start from, and what they were made for.

    Attributes:
        name: what a user calls them.
        sha256: hash of their file.
        backbone: name in the registry of networks.
        classes: in the order of the outputs.
        pixel_size_um, crop_size_px: of the crops that they were trained on.
        mode: how those were normalised, one of `ctcnet.normalization.MODES`.
        state: of the network.
    """

    name: str
    sha256: str
    backbone: str
    classes: tuple[str, ...]
    pixel_size_um: float
    crop_size_px: int
    mode: str
    state: Mapping[str, Tensor]


def find_start(start_from: str) -> Path:
    """File that a run starts from: the weights of a shipped model, or a checkpoint.

    Args:
        start_from: name of a shipped model, which means that model even where a folder has it too (./name), or path of
            a checkpoint or run folder.

    Raises:
        ModelFileError: there is none; lists what is accepted.
    """
    shipped = find_shipped(start_from, ACCEPTED)
    if shipped is not None:
        return shipped / WEIGHTS_FILE
    path = Path(start_from) / "best.ckpt" if Path(start_from).is_dir() else Path(start_from)
    if path.suffix != ".ckpt" or not path.is_file():
        raise ModelFileError(
            "training cannot start from it",
            where=start_from,
            expected=f"{ACCEPTED}, or {shipped_words()}",
            fix="check --model.start_from",
        )
    return path


def read_start(start_from: str, mode: str, roles: Sequence[str]) -> StartingWeights:
    """Read the weights that a run starts from.

    Args:
        start_from: name of a shipped model, or path of a checkpoint or run folder.
        mode: how the run's crops are normalised; a shipped model has weights of its own for 'per_crop', and those made
            with the levels of cartridges serve for any other.
        roles: of the run's channels; a shipped model may have weights of its own for panels with a platelet marker.

    Raises:
        ModelFileError: there are none, or they cannot be used.
    """
    path = find_start(start_from)
    if path.suffix != ".ckpt":
        shipped = read_shipped(path.parent)
        card = shipped.card
        kind = "per_crop" if mode == "per_crop" else "cartridge"
        made_for = (card.pixel_size_um, card.crop_size_px, kind)
        state = shipped.weights_for(kind, roles)
        return StartingWeights(card.name, card.weights_sha256, card.backbone, card.labels.classes, *made_for, state)
    content = read_checkpoint(path)
    model = card_of(content, path)
    state = content["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelFileError("has no weights", where=path, fix="copy or train it again")
    check_finite(state, path)
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    made_for = (model.pixel_size_um, model.crop_size_px, model.normalization.mode)
    return StartingWeights(Path(start_from).name, digest, model.backbone, model.labels.classes, *made_for, state)


def start_network(
    network: CellClassifier, start: StartingWeights, backbone: str, classes: Sequence[str]
) -> tuple[str, ...]:
    """Give a new network the weights to start from; what they do not cover keeps its random values.

    Args:
        network: of the run's panel and classes; changed in place.
        start: the weights.
        backbone: name of the network's backbone.
        classes: of the run.

    Returns:
        Sentences on what was not taken over.

    Raises:
        SettingError: the weights are those of another backbone.
        ModelFileError: they do not fit the network.
    """
    if backbone != start.backbone:
        raise SettingError(
            f"weights of the backbone '{start.backbone}' cannot start one of another kind",
            where=f"model.start_from {start.name}",
            expected=f"model.backbone {start.backbone}",
            found=backbone,
            fix=f"set --model.backbone {start.backbone}, or start from a model of the same backbone",
        )
    own = network.state_dict()
    same_classes = tuple(classes) == start.classes
    new_roles = sorted({_role_of(name) for name in own if _lacks_role(name, start.state)})
    left = {name for name in own if _lacks_role(name, start.state) or (name.startswith("head.") and not same_classes)}
    wanted = {name: value for name, value in own.items() if name not in left}
    network.load_state_dict(own | taken_by_role(start.state, wanted, start.name))
    notes = []
    if not same_classes:
        notes.append(f"the classes are not those of '{start.name}' in its order: the last layer starts at random")
    if new_roles:
        notes.append(f"'{start.name}' knows no channel of role {', '.join(new_roles)}: these start at random")
    if NUCLEUS in set(map(_role_of, start.state)) - set(map(_role_of, own)):
        notes.append(f"the panel has no channel of role {NUCLEUS}, without which '{start.name}' never saw a cell")
    return tuple(notes)


def specialised_state(universal: Mapping[str, Tensor], network: nn.Module, where: str = "weights") -> dict[str, Tensor]:
    """Weights for a network of one panel out of those of the universal one.

    A second channel of a role that has one set of weights only deviates by nothing; a third deviates like the second.

    Raises:
        ModelFileError: the weights do not fit the network.
    """
    return taken_by_role(universal, network.state_dict(), where)


def taken_by_role(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """For each name in `wanted` the value in `found`, as in `specialised_state`.

    Raises:
        ModelFileError: one is missing, or of another shape.
    """
    state = {}
    for name, value in wanted.items():
        source = name if name in found else _deviation_like(name, found)
        state[name] = torch.zeros_like(value) if source is None else found.get(source)
        if state[name] is None or state[name].shape != value.shape:
            raise ModelFileError(
                "weights do not fit the network that ctcnet builds",
                where=where,
                expected=f"{name} of shape {tuple(value.shape)}",
                found="none" if state[name] is None else str(tuple(state[name].shape)),
                fix="use the file as ctcnet wrote it, with the version of ctcnet that it was made with",
            )
    return state


def _deviation_like(name: str, found: Mapping[str, Tensor]) -> str | None:
    """Name of the weights by which a further channel deviates, None where it does not; `name` if it is no such."""
    stem, _, key = name.rpartition(".")
    role, _, occurrence = key.rpartition("_")
    if not stem.endswith("deviation") or not occurrence.isdigit():
        return name
    second = f"{stem}.{role}_1"
    return second if second in found else None


def _role_of(name: str) -> str:
    """Role that a parameter of a role belongs to; empty for others."""
    kind, key = name.split(".")[-2:] if "." in name else ("", "")
    if kind not in _ROLE_PARAMETERS:
        return ""
    return key.rpartition("_")[0] if kind == "deviation" else key


def _lacks_role(name: str, found: Mapping[str, Tensor]) -> bool:
    """Whether a parameter belongs to a role that the weights found do not know."""
    role = _role_of(name)
    return bool(role) and not any(_role_of(other) == role for other in found)


def freeze_parts(network: CellClassifier, freeze: Freeze) -> None:
    """Let parts of a network keep their weights and their statistics of batch norm.

    Args:
        network: changed in place.
        freeze: 'stem': the first convolution, which knows the channels, and the norm behind it; 'backbone': everything
            but the last layer.
    """
    for part in frozen_parts(network, freeze):
        part.requires_grad_(False).eval()


def frozen_parts(network: CellClassifier, freeze: Freeze) -> list[nn.Module]:
    """Modules that `freeze_parts` freezes."""
    if freeze == "none":
        return []
    if freeze == "backbone":
        return [network.backbone]
    norm = getattr(network.backbone, "stem_norm", None)
    return [network.backbone.stem, *([norm] if isinstance(norm, nn.Module) else [])]
