"""Numbers that scanners write into the names of files."""

from __future__ import annotations

import re

_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def last_number(name: str) -> int | None:
    """Last whole number in a name, as scanners number their frames; None where there is none."""
    found = _LAST_NUMBER.search(name)
    return None if found is None else int(found.group(1))
