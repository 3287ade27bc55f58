"""JSON files of results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctcnet.errors import OutputError
from ctcnet.scan.results.counts_file import write_json

pytestmark = pytest.mark.unit


def test_numpy_values_become_plain_and_what_is_no_number_null(tmp_path: Path) -> None:
    content = {"b": np.float32(1.5), "a": [np.nan, float("inf"), np.int64(3)], 5: np.array([1, 2]), "t": (True, None)}
    write_json(tmp_path / "c.json", content)
    text = (tmp_path / "c.json").read_text()
    assert json.loads(text) == {"b": 1.5, "a": [None, None, 3], "5": [1, 2], "t": [True, None]}
    assert text.index('"b"') < text.index('"a"')


def test_file_that_stands_there_is_kept_unless_told(tmp_path: Path) -> None:
    write_json(tmp_path / "c.json", {"a": 1})
    with pytest.raises(OutputError, match="exists already"):
        write_json(tmp_path / "c.json", {"a": 2})
    write_json(tmp_path / "c.json", {"a": 2}, overwrite=True)
    assert json.loads((tmp_path / "c.json").read_text()) == {"a": 2}
