"""The folder of a shipped model: weights of the universal network and a card, read by name or path.

Needs torch and safetensors only where weights are read or written: names can be listed without them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctcnet.errors import LabelError, ModelFileError, SettingError
from ctcnet.labels import LabelSchema, schema_from_dict
from ctcnet.panel import Panel
from ctcnet.resampling import MOST_CROP_SIZE_PX
from ctcnet.resources import resource_dir
from ctcnet.settings_file import check_keys

if TYPE_CHECKING:
    from torch import Tensor

CARD_FILE, WEIGHTS_FILE, CALIBRATIONS_FILE = "card.json", "weights.safetensors", "calibrations.safetensors"
CARD_FORMAT = 1
MODES: tuple[str, ...] = ("cartridge", "per_crop")
"""Kinds of normalisation that a shipped model holds weights for, each a network of its own."""
WITH_PLATELET = "cartridge_platelet"
"""Weights for panels that have a platelet marker, which tell a class more; without any, those of 'cartridge' serve."""


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
        calibrations_sha256: hash of the file of calibrations of shipped panels; None where there is none.
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
    calibrations_sha256: str | None = None
    simulated: bool = True
    card_format: int = CARD_FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        content = asdict(self) | {"labels": self.labels.to_dict(), "training": dict(self.training)}
        return json.loads(json.dumps(content))

    def to_markdown(self) -> str:
        """The card as a page for people."""
        rows = [
            ("Network", self.backbone),
            ("Panel", "any with a nucleus channel: ctcnet export makes a file for one"),
            ("Input", f"{self.crop_size_px} x {self.crop_size_px} px at {self.pixel_size_um:g} um per px, raw counts"),
            ("Classes", ", ".join(self.labels.classes)),
            ("Training data", "simulated cells alone"),
            ("Weights", f"sha256 {self.weights_sha256}"),
            ("Software", f"ctcnet {self.software_version}"),
        ]
        lines = [f"# {self.name}", "", "For research use only.", "", "| | |", "|---|---|"]
        return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)]) + "\n"


@dataclass(frozen=True)
class ShippedModel:
    """A model read from its folder.

    Attributes:
        card: see `ShippedCard`.
        folder: where it lies.
        weights: each of `MODES`, and `WITH_PLATELET` where there is one, to the state of a universal network.
    """

    card: ShippedCard
    folder: Path
    weights: Mapping[str, Mapping[str, Tensor]]

    def weights_for(self, mode: str, roles: Sequence[str]) -> Mapping[str, Tensor]:
        """State that serves a panel with these roles whose crops are normalised by one of `MODES`."""
        own = WITH_PLATELET if mode == "cartridge" and "platelet" in roles else mode
        return self.weights.get(own, self.weights[mode])


def shipped_names() -> tuple[str, ...]:
    """Names of the models shipped with this installation; a hidden folder is one that was never finished."""
    try:
        folder = resource_dir("models")
    except SettingError:
        return ()
    return tuple(sorted(path.parent.name for path in folder.glob(f"[!.]*/{CARD_FILE}")))


def is_shipped_name(text: str | Path) -> bool:
    """Whether this is a name, not a path: that of a shipped model, or nothing of that name is there.

    A name has no separator and no file ending. It means the shipped model even where a folder has it too: that is
    ./name, so that `text` must be given as it was typed, for `Path` drops the dot.
    """
    text = str(text)
    if set(text) & {"/", "\\"} or Path(text).suffix:
        return False
    return text in shipped_names() or not os.path.lexists(Path(text))


def shadow_note(text: str | Path) -> str:
    """Sentence for a name that a shipped model and a file or folder share; empty for any other."""
    text = str(text)
    if not is_shipped_name(text) or not os.path.lexists(text):
        return ""
    return f"'{text}' means the shipped model; what has that name here is ./{text}"


def find_shipped(text: str | Path, others: str) -> Path | None:
    """Folder of the shipped model that is meant by its name or its path; None where something else is meant.

    Args:
        text: name or path, as it was typed: see `is_shipped_name`.
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
        ModelFileError: the card or the weights are missing, damaged or do not belong together, or a weight is not
            finite.
    """
    from ctcnet.simulate.composition import CLASSES

    card = read_card(folder)
    if card.labels.classes != CLASSES:
        raise ModelFileError(
            "has a card of other classes than the simulator's",
            where=folder / CARD_FILE,
            expected=", ".join(CLASSES),
            found=", ".join(card.labels.classes),
            fix="install ctcnet again",
        )
    path = folder / WEIGHTS_FILE
    tensors = read_tensors(path, card.weights_sha256)
    weights = {mode: _part(tensors, mode) for mode in (*MODES, WITH_PLATELET)}
    lacking = [mode for mode in MODES if not weights[mode]]
    if lacking:
        raise ModelFileError(f"holds no weights of the mode {lacking[0]}", where=path, fix="install ctcnet again")
    check_finite(tensors, path)
    return ShippedModel(card, folder, {mode: state for mode, state in weights.items() if state})


def write_shipped(folder: Path, card: Mapping[str, Any], weights: Mapping[str, Mapping[str, Tensor]]) -> ShippedModel:
    """Write weights and card (fields of `ShippedCard` without the hash) into an existing folder, and read them back.

    Matrices and filters are rounded to float16, so that the folder stays small: what is read back is the model.
    """
    from safetensors.torch import save

    tensors = {f"{mode}.{name}": _stored(value) for mode, state in weights.items() for name, value in state.items()}
    content = save(tensors)
    whole = ShippedCard(**card, weights_sha256=sha256(content).hexdigest())
    (folder / WEIGHTS_FILE).write_bytes(content)
    write_card(folder, whole)
    return read_shipped(folder)


def write_card(folder: Path, card: ShippedCard) -> None:
    """Write the card of a shipped model into its folder."""
    (folder / CARD_FILE).write_text(json.dumps(card.to_dict(), indent=2) + "\n", encoding="utf-8")


def read_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """Tensors of a file by name.

    Raises:
        ModelFileError: it cannot be read, or is not the file with this SHA-256.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ModelFileError(f"cannot be read ({cause.strerror})", where=path, fix="install ctcnet again") from cause
    if sha256(content).hexdigest() != digest:
        raise ModelFileError("is not the file that the card describes", where=path, fix="install ctcnet again")
    try:
        return load(content)
    except SafetensorError as cause:
        raise ModelFileError(f"is damaged ({cause})", where=path, fix="install ctcnet again") from cause


def check_finite(state: Mapping[str, Tensor], where: str | Path) -> None:
    """Raise ModelFileError where a weight is NaN or infinite."""
    bad = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if bad:
        raise ModelFileError(
            "holds weights that are not finite",
            where=where,
            found=f"{len(bad)} tensors, such as {bad[0]}",
            fix="copy or train it again",
        )


def _stored(value: Tensor) -> Tensor:
    return (value.half() if value.dim() > 1 else value).contiguous()


def _part(tensors: Mapping[str, Tensor], mode: str) -> dict[str, Tensor]:
    prefix = f"{mode}."
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return {name: value.float() if value.is_floating_point() else value for name, value in own.items()}


def read_card(folder: Path) -> ShippedCard:
    """Read the card of a shipped model alone.

    Raises:
        ModelFileError: it is missing, damaged, or states what cannot be.
    """
    path = folder / CARD_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise ModelFileError(f"cannot be read ({cause})", where=path, fix="install ctcnet again") from cause
    fields = tuple(ShippedCard.__dataclass_fields__)
    if not isinstance(content, dict) or content.get("card_format") != CARD_FORMAT:
        raise ModelFileError("is no card of a shipped model", where=path, expected=f"card_format {CARD_FORMAT}")
    check_keys(content, required=fields, where=path, error=ModelFileError)
    try:
        labels = schema_from_dict(content["labels"], where=path)
        shares = tuple(float(share) for share in content["class_shares"])
    except LabelError as error:
        raise ModelFileError(error.what, where=path, expected=error.expected, found=error.found) from error
    except (TypeError, ValueError, AttributeError) as cause:
        raise ModelFileError(f"is malformed ({cause})", where=path, fix="install ctcnet again") from cause
    card = ShippedCard(**{**content, "labels": labels, "class_shares": shares})
    _check_card(card, path)
    return card


def _check_card(card: ShippedCard, path: Path) -> None:
    size, training, shares = card.crop_size_px, card.training, card.class_shares
    texts = (card.name, card.backbone, card.weights_sha256, card.software_version)
    checks = (
        (all(isinstance(text, str) and text for text in texts), "name, backbone, hash and version as text"),
        (_is_number(card.pixel_size_um) and card.pixel_size_um > 0, "pixel_size_um above 0"),
        (isinstance(size, int) and 0 < size <= MOST_CROP_SIZE_PX, "crop_size_px in pixels"),
        (len(shares) == len(card.labels.classes), "class_shares, one per class"),
        (all(share > 0 for share in shares) and abs(sum(shares) - 1) < 1e-3, "class_shares that add up to 1"),
        (isinstance(training, Mapping), "training as a mapping"),
        (card.simulated is True, "simulated true"),
    )
    for holds, expected in checks:
        if not holds:
            raise ModelFileError("states what cannot be", where=path, expected=expected, fix="install ctcnet again")
    if not all(_is_number(training.get(key, 0)) for key in ("crops", "groups")):
        raise ModelFileError("states what cannot be", where=path, expected="crops and groups as numbers")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
