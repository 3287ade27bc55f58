"""Arrays as JSON within a metadata property: type, shape and base64 of zlib of the little-endian values."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.errors import ModelFileError

DTYPES = ("uint16", "float32")
MOST_VALUES = 1 << 24
"""More than any sample has; a small text can unpack to gigabytes."""


def pack_array(values: np.ndarray) -> dict[str, Any]:
    """Plain data of an array of one of `DTYPES`: `dtype`, `shape` and `zlib_base64`."""
    content = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    text = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    return {"dtype": values.dtype.name, "shape": list(values.shape), "zlib_base64": text}


def unpack_array(content: Mapping[str, Any], where: str | Path) -> np.ndarray:
    """The array that `pack_array` packed.

    Raises:
        ModelFileError: a key is missing, a type or size is impossible, or the text holds another number of values.
    """
    try:
        shape = tuple(int(length) for length in content["shape"])
        name, text = content["dtype"], content["zlib_base64"]
        if name not in DTYPES or min(shape, default=0) < 0 or math.prod(shape) > MOST_VALUES:
            raise ValueError(f"{name} {shape}")
        dtype = np.dtype(name).newbyteorder("<")
        size = math.prod(shape) * dtype.itemsize
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b64decode(text, validate=True), size + 1)
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error, zlib.error) as cause:
        raise ModelFileError(f"holds an array that cannot be read ({cause})", where=where) from cause
    if len(raw) != size:
        raise ModelFileError(
            "holds an array of another size", where=where, expected=f"{size} bytes", found=f"{len(raw)} or more"
        )
    return np.frombuffer(raw, dtype=dtype).reshape(shape).astype(np.dtype(name))
