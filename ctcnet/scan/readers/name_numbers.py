"""Numbers that scanners write into the names of files."""

from __future__ import annotations

import re

LARGEST_FRAME_NUMBER = 2**31 - 1
"""Results keep the numbers of frames in 32 bits."""
_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def last_number(name: str) -> int | None:
    """Last whole number in a name, as scanners number their frames; None where there is none, or a date and time."""
    found = _LAST_NUMBER.search(name)
    return None if found is None or int(found.group(1)) > LARGEST_FRAME_NUMBER else int(found.group(1))
