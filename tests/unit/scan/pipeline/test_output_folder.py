"""OUT: one run at a time, results of one model only, nothing of others removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctcnet.errors import OutputError
from ctcnet.scan.pipeline.output_folder import RUN_FILE, check_scan_output, scan_output

pytestmark = pytest.mark.unit

IDENTITY = {"model_sha256": "ab", "software_version": "1"}


def open_once(path, identity=None, **options):
    with scan_output(path, identity or IDENTITY, **{"resume": False, "overwrite": False, **options}):
        pass


def test_a_new_folder_says_what_its_results_share(tmp_path):
    open_once(tmp_path / "out")
    assert "ab" in (tmp_path / "out" / RUN_FILE).read_text()


def test_results_are_kept_unless_asked_for(tmp_path):
    open_once(tmp_path / "out")
    with pytest.raises(OutputError, match="--resume"):
        open_once(tmp_path / "out")


def test_resume_keeps_and_overwrite_removes(tmp_path):
    open_once(tmp_path / "out")
    (tmp_path / "out/c1").mkdir()
    (tmp_path / "out/summary.csv").write_text("x")
    open_once(tmp_path / "out", resume=True)
    assert (tmp_path / "out/c1").is_dir()
    open_once(tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out/c1").exists()
    assert not (tmp_path / "out/summary.csv").exists()


def test_another_model_is_refused(tmp_path):
    open_once(tmp_path / "out")
    with pytest.raises(OutputError, match="model_sha256"):
        open_once(tmp_path / "out", {**IDENTITY, "model_sha256": "cd"}, resume=True)


def test_overwriting_may_change_the_model(tmp_path):
    open_once(tmp_path / "out")
    open_once(tmp_path / "out", {**IDENTITY, "model_sha256": "cd"}, overwrite=True)
    assert "cd" in (tmp_path / "out" / RUN_FILE).read_text()


def test_a_folder_that_no_scan_wrote_stays(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    for options in ({"resume": True}, {"overwrite": True}, {}):
        with pytest.raises(OutputError):
            open_once(tmp_path / "out", **options)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_two_at_once_are_refused(tmp_path):
    with (
        scan_output(tmp_path / "out", IDENTITY, resume=False, overwrite=False),
        pytest.raises(OutputError, match="another scan"),
    ):
        open_once(tmp_path / "out", resume=True)


def test_a_check_beforehand_refuses_the_same_and_changes_nothing(tmp_path):
    out = tmp_path / "out"
    check_scan_output(out, resume=False, overwrite=False)
    assert not out.exists()
    with scan_output(out, IDENTITY, resume=False, overwrite=False), pytest.raises(OutputError, match="another scan"):
        check_scan_output(out, resume=True, overwrite=False)
    (out / "summary.csv").write_text("x")
    before = {entry.name: entry.read_bytes() for entry in out.iterdir()}
    with pytest.raises(OutputError, match="--resume"):
        check_scan_output(out, resume=False, overwrite=False)
    check_scan_output(out, resume=True, overwrite=False)
    check_scan_output(out, resume=False, overwrite=True)
    assert {entry.name: entry.read_bytes() for entry in out.iterdir()} == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_refused_before_any_work_and_kept(tmp_path, overwrite):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        check_scan_output(tmp_path / "out", resume=False, overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "mine"


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(OutputError, match="exclude"):
        open_once(tmp_path / "out", resume=True, overwrite=True)


def test_a_damaged_record_is_an_error(tmp_path):
    open_once(tmp_path / "out")
    (tmp_path / "out" / RUN_FILE).write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        open_once(tmp_path / "out", resume=True)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError):
        open_once(tmp_path / "out")


def test_a_run_killed_while_it_wrote_its_first_file_can_be_started_again(tmp_path):
    (tmp_path / "out").mkdir()
    for name in (".lock", f".{RUN_FILE}.part"):
        (tmp_path / "out" / name).touch()
    open_once(tmp_path / "out", resume=True)
    assert (tmp_path / "out" / RUN_FILE).is_file()


def test_a_run_killed_while_it_removed_older_results_can_be_started_again(tmp_path, monkeypatch):
    open_once(tmp_path / "out")
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / "out" / name).write_text("x")
    unlink, gone = Path.unlink, []

    def killed(path, *args, **kwargs):
        if len(gone) == 2:
            raise KeyboardInterrupt
        gone.append(path)
        unlink(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            open_once(tmp_path / "out", overwrite=True)
    open_once(tmp_path / "out", overwrite=True)
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {RUN_FILE, ".lock"}
