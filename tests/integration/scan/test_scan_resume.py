"""A scan that was cut off gives, when resumed, the bytes of one that never was."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from ctcnet.scan.cartridge import Cartridge

pytestmark = pytest.mark.integration

MAY_DIFFER = ("run_log.json", ".lock")


def digests(out: Path) -> dict[str, str]:
    files = (file for file in out.rglob("*") if file.is_file() and file.name not in MAY_DIFFER)
    return {file.relative_to(out).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def two_cartridges(cartridge_source, tmp_path_factory) -> list[Path]:
    """The simulated cartridge twice, under two names."""
    folder = tmp_path_factory.mktemp("two")
    return [Path(shutil.copytree(cartridge_source, folder / name)) for name in ("first", "second")]


@pytest.fixture(scope="module")
def uninterrupted(two_cartridges, rule_model, tmp_path_factory) -> tuple[dict[str, str], float]:
    """Digests of an uninterrupted scan, and the seconds it took."""
    out = tmp_path_factory.mktemp("whole") / "out"
    begin = time.monotonic()
    subprocess.run(command(two_cartridges, rule_model, out), check=True, capture_output=True)
    return digests(out), time.monotonic() - begin


def command(cartridges: list[Path], model: Path, out: Path) -> list[str]:
    words = [sys.executable, "-m", "ctcnet", "scan", *map(str, cartridges), "--model", str(model), "-o", str(out)]
    return [*words, "--device", "cpu", "--resume"]


@pytest.mark.parametrize("share", [0.45, 0.7, 0.9])
def test_killed_and_resumed(two_cartridges, rule_model, uninterrupted, tmp_path, share):
    expected, seconds = uninterrupted
    words = command(two_cartridges, rule_model, tmp_path / "out")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(share * seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(words, check=True, capture_output=True)
    assert digests(tmp_path / "out") == expected


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_by_the_user_or_a_queue_and_resumed(
    two_cartridges, rule_model, uninterrupted, tmp_path, sent, code
):
    expected, _ = uninterrupted
    out = tmp_path / "out"
    words = command(two_cartridges, rule_model, out)
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    limit = time.monotonic() + 120
    while not (out / "first").is_dir() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "--resume" in errors
    assert "Traceback" not in errors
    subprocess.run(words, check=True, capture_output=True)
    assert digests(out) == expected


def test_a_finished_scan_resumed_changes_nothing(two_cartridges, rule_model, uninterrupted, tmp_path):
    words = command(two_cartridges[:1], rule_model, tmp_path / "out")
    subprocess.run(words, check=True, capture_output=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/first").iterdir()}
    subprocess.run(words, check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/first").iterdir()} == before


def test_cartridges_may_be_added_to_a_finished_out(two_cartridges, rule_model, uninterrupted, tmp_path):
    expected, _ = uninterrupted
    subprocess.run(command(two_cartridges[:1], rule_model, tmp_path / "out"), check=True, capture_output=True)
    subprocess.run(command(two_cartridges, rule_model, tmp_path / "out"), check=True, capture_output=True)
    assert digests(tmp_path / "out") == expected


def test_unfinished_work_of_other_settings_is_refused(two_cartridges, rule_model, uninterrupted, tmp_path):
    assert uninterrupted
    out = tmp_path / "out"
    words = command(two_cartridges[:1], rule_model, out)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not (out / "first/.work/plan.json").is_file() and time.monotonic() < limit:
        time.sleep(0.02)
    process.kill()
    process.wait()
    other = subprocess.run([*words, "--blood-volume-ml", "5"], capture_output=True, text=True)
    assert other.returncode == 2
    assert "blood_volume_ml" in other.stderr
    assert not (out / "summary.csv").exists()


def test_whole_results_of_other_settings_stop_the_run_before_anything_is_touched(
    scan, two_cartridges, tmp_path, capsys
):
    first, second = two_cartridges
    out = tmp_path / "out"
    assert scan(first, out=out, options=("--blood-volume-ml", "7.5")) == 0
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}
    assert scan(second, first, out=out, options=("--resume", "--blood-volume-ml", "5")) == 2
    message = capsys.readouterr().err
    assert "these differ: blood_volume_ml" in message
    assert "expected: blood_volume_ml 7.5" in message
    assert "found: blood_volume_ml 5.0" in message
    assert not (out / "second").exists()
    del before[out / ".lock"]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    assert scan(second, first, out=out, options=("--resume", "--blood-volume-ml", "7.5")) == 0


def test_other_files_fail_one_cartridge_and_the_others_are_scanned(scan, two_cartridges, tmp_path):
    changed = Path(shutil.copytree(two_cartridges[0], tmp_path / "first"))
    out = tmp_path / "out"
    assert scan(changed, out=out) == 0
    counts = (out / "first/counts.json").read_bytes()
    (changed / "note.txt").write_text("of another day")
    assert scan(changed, two_cartridges[1], out=out, options=("--resume",)) == 1
    with (out / "summary.csv").open() as stream:
        rows = {row["cartridge"]: row for row in csv.DictReader(stream)}
    assert rows["second"]["status"] == "done"
    assert "these differ: files_sha256" in rows["first"]["error"]
    assert (out / "first/counts.json").read_bytes() == counts


@pytest.mark.parametrize("last_read", [2, 14])
def test_a_disk_that_goes_away_fails_the_cartridge_and_resuming_gives_the_whole(
    scan, cartridge, tmp_path, monkeypatch, capsys, last_read
):
    """Frames that cannot be reached are not frames that are damaged: a count without them would be no result."""
    assert scan(cartridge, out=tmp_path / "whole") == 0
    away, reads = tmp_path / "away", iter(range(1, 1000))
    read = Cartridge.read

    def read_until_gone(self, index):
        if next(reads) == last_read:
            cartridge.rename(away)
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Cartridge, "read", read_until_gone)
        assert scan(cartridge, out=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "was there when the scan began, and is gone" in error
    assert "--resume" in error
    assert "Traceback" not in error
    away.rename(cartridge)
    assert scan(cartridge, out=tmp_path / "out", options=("--resume",)) == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_files_that_no_reader_reads_do_not_matter(scan, cartridge, tmp_path):
    assert scan(cartridge, out=tmp_path / "out") == 0
    before = digests(tmp_path / "out")
    for name in (".DS_Store", "Thumbs.db", ".cache/x"):
        (cartridge / name).parent.mkdir(exist_ok=True)
        (cartridge / name).write_bytes(b"left by a file manager")
    assert scan(cartridge, out=tmp_path / "out", options=("--resume",)) == 0
    assert digests(tmp_path / "out") == before


def test_another_sample_under_the_same_names_and_sizes_is_not_taken_for_the_one_that_was_scanned(
    scan, cartridge, tmp_path, capsys
):
    assert scan(cartridge, out=tmp_path / "out") == 0
    before = digests(tmp_path / "out/cartridge")
    for file in cartridge.glob("*.tif"):
        content = file.read_bytes()
        file.write_bytes(content)  # changed now
    assert scan(cartridge, out=tmp_path / "out", options=("--resume",)) == 1
    assert "may be another sample" in capsys.readouterr().err
    assert digests(tmp_path / "out/cartridge") == before
    assert scan(cartridge, out=tmp_path / "out", options=("--overwrite",)) == 0
