"""A strict, bounded reader of protobuf messages whose fields are known; bytes are not copied.

Format: https://protobuf.dev/programming-guides/encoding. Unlike protobuf's own readers it refuses fields that the
schema lacks, and singular fields given twice: those are passed over or merged there, differently by different readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

MOST_FIELDS = 1_000_000
"""Fields of a whole file, so that a hostile one is refused within seconds."""

MOST_DEPTH = 20
"""Messages within messages, for schemas that hold themselves."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; groups, 3 and 4, are read by none of these schemas."""


class WireError(ValueError):
    """The bytes are no message of the schema."""


class Entry(NamedTuple):
    """What a field holds.

    Attributes:
        name: key under which its value is given.
        kind: a `Message`, or 'int' (int64), 'float' (float32, given as 0.0: its value is not needed), 'text' (str),
            'bytes' (memoryview), 'ints' (list of int64, packed or not), 'count4', 'count8', 'counts' (number of values
            of 4 bytes, of 8 bytes, or of varints, packed or not).
        repeated: whether it may come several times: a list.
    """

    name: str
    kind: str | Message
    repeated: bool = False


@dataclass(frozen=True)
class Message:
    """A kind of message.

    Attributes:
        name: for errors.
        entries: by field number.
        refused: what some of the other fields would hold, for errors.
    """

    name: str
    entries: Mapping[int, Entry]
    refused: Mapping[int, str] = field(default_factory=dict)


def read_message(content: memoryview, message: Message) -> dict[str, Any]:
    """Values of a message by name; fields that are absent are absent.

    Args:
        content: bytes of the message, and of nothing else.
        message: what it is.

    Raises:
        WireError: the bytes are no such message.
    """
    return _Reader(content).message(message, 0, len(content))


class _Reader:
    def __init__(self, content: memoryview) -> None:
        self.content = content
        self.fields_left = MOST_FIELDS
        self.depth = 0

    def message(self, message: Message, start: int, end: int) -> dict[str, Any]:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise WireError(f"more than {MOST_DEPTH} messages within each other")
        values: dict[str, Any] = {}
        entries = message.entries
        while start < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise WireError(f"more than {MOST_FIELDS} fields")
            tag, start = self.varint(start, end)
            entry = entries.get(tag >> 3)
            if entry is None:
                raise WireError(f"{message.name} with {message.refused.get(tag >> 3, f'the unknown field {tag >> 3}')}")
            start = self.one(message, entry, tag & 7, start, end, values)
        self.depth -= 1
        return values

    def one(self, message: Message, entry: Entry, wire: int, start: int, end: int, values: dict[str, Any]) -> int:
        """Read one field into `values`; returns where the next one starts."""
        name, kind = entry.name, entry.kind
        if wire == BYTES:
            length, start = self.varint(start, end)
            stop = start + length
            if stop > end:
                raise WireError(f"{message.name}.{name} of {length} bytes, of which {end - start} are there")
            if isinstance(kind, Message):
                value: Any = self.message(kind, start, stop)
            else:
                value = self.packed(message, entry, start, stop)
        else:
            value, stop = self.number(message, entry, wire, start, end)
        if entry.repeated:
            values.setdefault(name, []).append(value)
        elif kind == "ints":
            values.setdefault(name, []).extend(value)
        elif name not in values:
            values[name] = value
        elif kind in _COUNTS:
            values[name] += value
        else:
            raise WireError(f"{message.name}.{name} given twice")
        return stop

    def packed(self, message: Message, entry: Entry, start: int, stop: int) -> Any:
        """Value of a field that gives its length."""
        kind, part = entry.kind, self.content[start:stop]
        if kind == "bytes":
            return part
        if kind == "text":
            try:
                return str(part, "utf-8")
            except UnicodeDecodeError:
                raise WireError(f"{message.name}.{entry.name} that is no UTF-8") from None
        if kind == "ints":
            numbers = []
            while start < stop:
                number, start = self.varint(start, stop)
                numbers.append(_signed(number))
            return numbers
        if kind == "counts":
            return _count_varints(np.frombuffer(part, np.uint8), f"{message.name}.{entry.name}")
        size = _COUNTS.get(str(kind), 0)
        if not size or len(part) % size:
            raise WireError(f"{message.name}.{entry.name} of another type")
        return len(part) // size

    def number(self, message: Message, entry: Entry, wire: int, start: int, end: int) -> tuple[Any, int]:
        """Value of a field that is one number, and where it ends."""
        kind = entry.kind if isinstance(entry.kind, str) else ""
        if wire == VARINT and kind in ("int", "ints", "counts"):
            number, start = self.varint(start, end)
            signed = _signed(number)
            return {"int": signed, "ints": [signed], "counts": 1}[kind], start
        size = {FIXED32: 4, FIXED64: 8}.get(wire, 0)
        if not size or _FIXED.get(kind) != size:
            raise WireError(f"{message.name}.{entry.name} of another type")
        if start + size > end:
            raise WireError(f"{message.name}.{entry.name} that ends too soon")
        return 0.0 if kind == "float" else 1, start + size

    def varint(self, start: int, end: int) -> tuple[int, int]:
        """Unsigned number of at most 64 bits, and where it ends."""
        value = 0
        for shift in range(0, 70, 7):
            if start >= end:
                raise WireError("a number that ends too soon")
            byte = self.content[start]
            start += 1
            value |= (byte & 0x7F) << shift
            if byte < 128:
                if value >> 64:
                    break
                if not byte and shift:
                    raise WireError("a number written longer than it is")
                return value, start
        raise WireError("a number of more than 64 bits")


_COUNTS = {"count4": 4, "count8": 8, "counts": 0}
_FIXED = {"float": 4, "count4": 4, "count8": 8}


def _count_varints(part: np.ndarray, name: str) -> int:
    """Numbers in uint8 (n,); raises WireError where they are not whole numbers of at most 64 bits."""
    ends = np.flatnonzero(part < 128)
    if len(part) and (not len(ends) or ends[-1] != len(part) - 1):
        raise WireError(f"{name} that ends within a number")
    lengths = np.diff(ends, prepend=-1)
    if (lengths > 10).any() or (part[ends[lengths == 10]] > 1).any():
        raise WireError(f"{name} with a number of more than 64 bits")
    return len(ends)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
