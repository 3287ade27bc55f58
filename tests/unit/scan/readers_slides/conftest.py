"""A CellTracks cartridge that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from celltracks_files import record_xml, write_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cartridge of 3 rows of 4 frames, with its XML."""
    folder = tmp_path / "171651.1.2"
    folder.mkdir()
    write_frames(folder)
    (folder / "171651.xml").write_text(record_xml())
    return folder
