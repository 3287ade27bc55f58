"""Patterns of file names: which frame and which channel a file holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import SettingError

_NUMBERS = ("frame", "row", "column", "x", "y")
PLACEHOLDERS = (*_NUMBERS, "channel")


@dataclass(frozen=True)
class PatternFile:
    """A file whose name fits a pattern.

    Attributes:
        path: the file.
        numbers: value of each numeric placeholder of the pattern.
        channel: text that stands for {channel}; None where the pattern has none.
    """

    path: Path
    numbers: dict[str, int]
    channel: str | None


class FilePattern:
    """A pattern such as '{frame}_{channel}.tif'.

    Args:
        text: path of a file in the cartridge's folder; {frame}, {row}, {column}, {x}, {y} stand for whole numbers,
            {channel} for a name, everything else for itself; folders are parted by '/'.

    Attributes:
        text: the pattern.
        placeholders: those that it holds.

    Raises:
        SettingError: a placeholder is unknown, stands twice or beside another one, or none says which frame it is.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = re.split(r"\{([^{}]*)\}", text)
        self.placeholders = tuple(pieces[1::2])
        self._check(pieces)
        words = [re.escape(piece) for piece in pieces]
        words[1::2] = [rf"(?P<{name}>{r'[0-9]+' if name in _NUMBERS else '[^/]+?'})" for name in self.placeholders]
        self._expression = re.compile("".join(words))

    def _check(self, pieces: list[str]) -> None:
        names = set(self.placeholders)
        problems = {
            "has an unknown placeholder": not names <= set(PLACEHOLDERS),
            "has a placeholder twice": len(names) < len(self.placeholders),
            "has two placeholders with nothing between them": "" in pieces[2:-1:2],
            "has a brace without its partner": bool(set("{}") & set("".join(pieces[::2]))),
            "leaves the folder": ".." in Path(self.text).parts or Path(self.text).is_absolute(),
            "does not say which frame a file holds": not self._says_frame(names),
        }
        for what, wrong in problems.items():
            if wrong:
                raise SettingError(
                    f"the pattern '{self.text}' {what}",
                    expected="{frame}, or {row} and {column}, or {x} and {y}; and {channel} where each channel has "
                    "its own file",
                    fix="give for instance --pattern '{frame}_{channel}.tif'",
                )

    @staticmethod
    def _says_frame(names: set[str]) -> bool:
        grids = [{"row", "column"}, {"x", "y"}]
        used = [grid for grid in grids if grid & names]
        return len(used) <= 1 and all(grid <= names for grid in used) and bool(used or "frame" in names)

    def find(self, folder: Path) -> list[PatternFile]:
        """Files in a folder that fit, in the order of their names; hidden ones and those in hidden folders do not."""
        depth = self.text.count("/")
        found = []
        for path in sorted(folder.glob("/".join(["*"] * (depth + 1)))):
            inner = path.relative_to(folder)
            if any(part.startswith(".") for part in inner.parts):
                continue
            match = self._expression.fullmatch(inner.as_posix())
            if match is not None and path.is_file():
                groups = match.groupdict()
                channel = groups.pop("channel", None)
                found.append(PatternFile(path, {name: int(text) for name, text in groups.items()}, channel))
        return found
