"""Where a report says that the levels come from."""

from __future__ import annotations

import pytest

from ctcnet.scan.pipeline.cartridge_results import levels_text

pytestmark = pytest.mark.unit

MEASURED = {"source": "measured", "leukocytes": 88, "frames": [1, 2]}
GIVEN = {"source": "given", "leukocytes": None, "frames": []}


@pytest.mark.parametrize(
    ("levels", "source", "text"),
    [
        (MEASURED, "cartridge", "cartridge, from 88 leukocytes of frames 1, 2"),
        (GIVEN, "cartridge", "given with --levels"),
        (MEASURED, "model", "the model's own"),
        (GIVEN, "per_crop", "each crop's own"),
    ],
)
def test_levels_are_said_to_come_from_where_they_do(levels, source, text):
    assert levels_text(levels, source) == text
