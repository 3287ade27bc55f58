"""A damaged file costs its frame, a disk that went away the scan."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from ctcnet.errors import FrameError, UnreachableError
from ctcnet.scan.readers.reachability import ReachableFrames

pytestmark = pytest.mark.unit


def _read(file: Path, number: int | None = None):
    """A reader whose only frame is `file`; its system reports `number` as the fault where one is given."""

    def read(index: int) -> np.ndarray:
        try:
            if number is not None:
                raise OSError(number, os.strerror(number), str(file))
            return np.frombuffer(file.read_bytes(), np.uint16)
        except (OSError, ValueError) as cause:
            raise FrameError("cannot be read", where=file) from cause

    return read


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "slide" / "1.tif"
    path.parent.mkdir()
    path.write_bytes(b"abcd")
    return path


def _there(*files: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_pixels_are_those_of_the_reader(file):
    np.testing.assert_array_equal(ReachableFrames(_read(file), file.parent, _there(file))(0), _read(file)(0))


def test_a_damaged_file_costs_its_frame(file):
    file.write_bytes(b"abc")
    with pytest.raises(FrameError):
        ReachableFrames(_read(file), file.parent, _there(file))(0)


def test_a_file_that_was_never_there_is_a_missing_frame(file):
    with pytest.raises(FrameError):
        ReachableFrames(_read(file.with_name("2.tif")), file.parent, _there(file))(0)


def test_a_file_that_went_away_or_was_changed_ends_the_scan(file):
    frames = ReachableFrames(_read(file), file.parent, _there(file))
    file.write_bytes(b"abc")
    with pytest.raises(UnreachableError, match="was changed since"):
        frames(0)
    file.unlink()
    with pytest.raises(UnreachableError, match="is gone"):
        frames(0)


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOTCONN, errno.ETIMEDOUT, errno.EMFILE]
)
def test_a_fault_of_the_disk_the_share_or_the_machine_ends_the_scan(file, number):
    with pytest.raises(UnreachableError, match="--resume"):
        ReachableFrames(_read(file, number), file.parent, _there(file))(0)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.EFBIG])
def test_a_fault_of_one_file_costs_its_frame(file, number):
    with pytest.raises(FrameError):
        ReachableFrames(_read(file, number), file.parent, _there(file))(0)
