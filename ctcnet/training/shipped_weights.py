"""The folder of a shipped model: weights of the universal network and a card, read by name or path.

Needs torch and safetensors only where weights are read or written: names can be listed without them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctcnet.errors import ModelFileError, SettingError
from ctcnet.labels import LabelSchema, schema_from_dict
from ctcnet.panel import Panel
from ctcnet.resources import resource_dir
from ctcnet.settings_file import check_keys

if TYPE_CHECKING:
    from torch import Tensor

CARD_FILE, WEIGHTS_FILE = "card.json", "weights.safetensors"
CARD_FORMAT = 1
MODES: tuple[str, ...] = ("cartridge", "per_crop")
"""Kinds of normalisation that a shipped model holds weights for, each a network of its own."""


@dataclass(frozen=True)
class ShippedCard:
    """What a shipped model says about itself before it is specialised to a panel.

    Attributes:
        name: of the model and of its folder.
        backbone: name in the registry of networks.
        labels: classes in the order of the outputs.
        pixel_size_um, crop_size_px: of the network's input.
        class_shares: class frequencies in training, summing to 1.
        weights_sha256: hash of the weights file.
        training: how it was made: settings, seed, crops, steps, duration, hardware, command, as plain data.
        software_version: of ctcnet.
        simulated: always true: these models see simulated cells alone.
        card_format: of this card.
    """

    name: str
    backbone: str
    labels: LabelSchema
    pixel_size_um: float
    crop_size_px: int
    class_shares: tuple[float, ...]
    weights_sha256: str
    training: Mapping[str, Any]
    software_version: str
    simulated: bool = True
    card_format: int = CARD_FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        content = asdict(self) | {"labels": self.labels.to_dict(), "training": dict(self.training)}
        return json.loads(json.dumps(content))


@dataclass(frozen=True)
class ShippedModel:
    """A model read from its folder.

    Attributes:
        card: see `ShippedCard`.
        folder: where it lies.
        weights: mode, one of `MODES`, to the state of a universal network.
    """

    card: ShippedCard
    folder: Path
    weights: Mapping[str, Mapping[str, Tensor]]


def shipped_names() -> tuple[str, ...]:
    """Names of the models shipped with this installation."""
    try:
        folder = resource_dir("models")
    except SettingError:
        return ()
    return tuple(sorted(path.parent.name for path in folder.glob(f"*/{CARD_FILE}")))


def is_shipped_name(text: str | Path) -> bool:
    """Whether this is a name, not a path: no separator, no file ending, and nothing of that name is there."""
    text = str(text)
    return not set(text) & {"/", "\\"} and not Path(text).suffix and not os.path.lexists(Path(text))


def find_shipped(text: str | Path, others: str) -> Path | None:
    """Folder of the shipped model that is meant by its name or its path; None where something else is meant.

    Args:
        text: name or path.
        others: what else would be accepted in its place, for the message.

    Raises:
        ModelFileError: a name that no shipped model has; lists those there are.
    """
    path = Path(text)
    if is_shipped_name(text):
        names = shipped_names()
        if str(text) in names:
            return resource_dir("models") / str(text)
        raise ModelFileError(
            f"no shipped model is called '{text}'",
            expected=f"{others}, or {shipped_words()}",
            fix="check the spelling, or give the path of a model file",
        )
    if path.name == WEIGHTS_FILE and path.is_file():
        return path.parent
    return path if (path / WEIGHTS_FILE).is_file() and (path / CARD_FILE).is_file() else None


def shipped_words() -> str:
    """What names are accepted, for messages."""
    names = shipped_names()
    return f"a shipped model: {', '.join(names)}" if names else "a shipped model (this installation has none)"


def specialised_sha256(weights_sha256: str, panel: Panel) -> str:
    """What stands for the hash of a model's file: that of the weights and of the panel that they are specialised to.

    Channels of role 'none' and the panel's name decide nothing.
    """
    content = {key: value for key, value in panel.network_panel().to_dict().items() if key != "name"}
    return sha256(f"{weights_sha256}\n{json.dumps(content, sort_keys=True)}".encode()).hexdigest()


def read_shipped(folder: Path) -> ShippedModel:
    """Read a shipped model.

    Raises:
        ModelFileError: the card or the weights are missing, damaged or do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = _read_card(folder / CARD_FILE)
    path = folder / WEIGHTS_FILE
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ModelFileError(f"cannot be read ({cause.strerror})", where=path, fix="install ctcnet again") from cause
    if sha256(content).hexdigest() != card.weights_sha256:
        raise ModelFileError("is not the file that the card describes", where=path, fix="install ctcnet again")
    try:
        tensors = load(content)
    except SafetensorError as cause:
        raise ModelFileError(f"is damaged ({cause})", where=path, fix="install ctcnet again") from cause
    weights = {mode: _part(tensors, mode) for mode in MODES}
    lacking = [mode for mode in MODES if not weights[mode]]
    if lacking:
        raise ModelFileError(f"holds no weights of the mode {lacking[0]}", where=path, fix="install ctcnet again")
    return ShippedModel(card, folder, weights)


def write_shipped(folder: Path, card: Mapping[str, Any], weights: Mapping[str, Mapping[str, Tensor]]) -> ShippedModel:
    """Write weights and card (fields of `ShippedCard` without the hash) into an existing folder, and read them back."""
    from safetensors.torch import save

    tensors = {f"{mode}.{name}": value.contiguous() for mode, state in weights.items() for name, value in state.items()}
    content = save(tensors)
    whole = ShippedCard(**card, weights_sha256=sha256(content).hexdigest())
    (folder / WEIGHTS_FILE).write_bytes(content)
    (folder / CARD_FILE).write_text(json.dumps(whole.to_dict(), indent=2) + "\n", encoding="utf-8")
    return read_shipped(folder)


def _part(tensors: Mapping[str, Tensor], mode: str) -> dict[str, Tensor]:
    prefix = f"{mode}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read_card(path: Path) -> ShippedCard:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise ModelFileError(f"cannot be read ({cause})", where=path, fix="install ctcnet again") from cause
    fields = tuple(ShippedCard.__dataclass_fields__)
    if not isinstance(content, dict) or content.get("card_format") != CARD_FORMAT:
        raise ModelFileError("is no card of a shipped model", where=path, expected=f"card_format {CARD_FORMAT}")
    check_keys(content, required=fields, where=path, error=ModelFileError)
    labels = schema_from_dict(content["labels"], where=path)
    try:
        shares = tuple(float(share) for share in content["class_shares"])
    except (TypeError, ValueError) as cause:
        raise ModelFileError(f"is malformed ({cause})", where=path, fix="install ctcnet again") from cause
    return ShippedCard(**{**content, "labels": labels, "class_shares": shares})
