"""One family of errors: what was wrong, where, what was expected, what was found, what to do."""

from __future__ import annotations

import sys
from pathlib import Path


class CtcnetError(Exception):
    """Base of every error that ctcnet raises for bad input, settings or files.

    Args:
        what: what is wrong, as one sentence without a full stop.
        where: file, channel or setting concerned.
        expected: what would have been right.
        found: what was there.
        fix: what the user can do about it.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        expected: str | None = None,
        found: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(self._message())

    def _message(self) -> str:
        lines = [self.what if self.where is None else f"{self.where}: {self.what}"]
        for name, value in (("expected", self.expected), ("found", self.found), ("what to do", self.fix)):
            if value is not None:
                lines.append(f"  {name}: {value}")
        return "\n".join(lines)


class SettingError(CtcnetError):
    """A setting or argument has a value that cannot be used."""


class PanelError(CtcnetError):
    """A panel is malformed, or the channels at hand are not those of the panel."""


class LabelError(CtcnetError):
    """A label or label schema is malformed or unknown."""


class ManifestError(CtcnetError):
    """A manifest or a store of crops cannot be used."""


class ImageError(CtcnetError):
    """An image file cannot be read or holds values that cannot be used."""


class CartridgeError(CtcnetError):
    """A scanned cartridge or slide cannot be opened: its layout, its files or what they say of themselves."""


class FrameError(ImageError):
    """One frame of a cartridge cannot be used; the others can."""


class UnreachableError(CtcnetError):
    """A file of a cartridge is gone, changed or cannot be reached, though it was there: nothing is said of its content.

    Unlike `FrameError` it ends the cartridge's scan, which can go on once the file is back.
    """


class SplitError(CtcnetError):
    """Groups cannot be divided as asked."""


class ModelFileError(CtcnetError):
    """A checkpoint, ONNX file or card cannot be used."""


class ModelPanelError(ModelFileError):
    """A model and the data it is given do not share their channels."""


class StatisticsError(CtcnetError):
    """A figure was asked for that the data at hand cannot support."""


class ParityError(CtcnetError):
    """An exported model does not give the answers of the model it was made from."""


class ContractError(ModelFileError):
    """An exported file is not what it says of itself, or does not give the answers that it was sent out with."""


class DeadlineError(CtcnetError):
    """A call of a model took longer than it may, and was ended."""


class OutputError(CtcnetError):
    """An output cannot be written, or exists already."""


class MissingExtraError(CtcnetError):
    """A part of ctcnet was asked for whose optional dependencies are not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"the Python package '{package}' is needed for this and is not installed",
            fix=f'pip install "ctcnet[{extra}]"',
        )
        self.extra = extra


def memory_errors() -> tuple[type[Exception], ...]:
    """What is raised where memory is short: Python's error, and torch's of a GPU where torch is loaded."""
    torch = sys.modules.get("torch")
    return (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
