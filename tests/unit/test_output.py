import os
from pathlib import Path

import pytest

from ctcnet.errors import OutputError
from ctcnet.output import check_output, new_output_dir, new_output_file, new_output_files

pytestmark = pytest.mark.unit


def _new_folder(path: Path, *, overwrite: bool):
    return new_output_dir(path, overwrite=overwrite, made_with="a")


def _leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_file_appears_when_finished(tmp_path: Path):
    with new_output_file(tmp_path / "sub" / "a.txt", overwrite=False) as part:
        part.write_text("done")
        assert not (tmp_path / "sub" / "a.txt").exists()
    assert (tmp_path / "sub" / "a.txt").read_text() == "done"


@pytest.mark.parametrize("above", ["", "new/folders"])
@pytest.mark.parametrize("make", [new_output_file, _new_folder])
def test_nothing_is_left_when_work_fails(tmp_path: Path, make, above: str):
    def work() -> None:
        with make(tmp_path / above / "out", overwrite=False) as part:
            if make is _new_folder:
                (part / "half").write_text("x")
            else:
                part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_came_to_use_is_left_to_it(tmp_path: Path):
    def work() -> None:
        with new_output_file(tmp_path / "new" / "sub" / "a.txt", overwrite=False):
            (tmp_path / "new" / "other.txt").write_text("x")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "other.txt"]


def test_a_check_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    check_output(tmp_path / "new" / "folders" / "a.txt", overwrite=False)
    monkeypatch.chdir(tmp_path)
    check_output("new/a.txt", overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [new_output_file, _new_folder])
def test_existing_output_needs_overwrite(tmp_path: Path, make):
    path = tmp_path / "out"
    for overwrite in (False, True):
        with make(path, overwrite=overwrite) as part:
            (part / "a" if make is _new_folder else part).write_text(str(overwrite))
    assert ((path / "a") if path.is_dir() else path).read_text() == "True"
    with pytest.raises(OutputError, match="--overwrite"), make(path, overwrite=False):
        pass
    assert _leftovers(tmp_path) == []


def test_an_overwrite_that_fails_keeps_the_old_output(tmp_path: Path):
    with new_output_dir(tmp_path / "out", overwrite=False, made_with="a") as part:
        (part / "a").write_text("old")
    with pytest.raises(KeyError), new_output_dir(tmp_path / "out", overwrite=True, made_with="a") as part:
        raise KeyError
    assert (tmp_path / "out" / "a").read_text() == "old"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_an_exchange_of_folders_that_is_cut_off_brings_the_old_one_back(tmp_path: Path, monkeypatch, fault):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    moved = []

    def fail_once(source, target):
        moved.append(target)
        if len(moved) == 2:
            raise fault
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", fail_once)
    with (
        pytest.raises((KeyboardInterrupt, OutputError)),
        new_output_dir(tmp_path / "out", overwrite=True, made_with="a") as part,
    ):
        (part / "a").write_text("new")
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert _leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "file" / "out.txt", overwrite=False)
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "file" / "sub" / "out.txt", overwrite=False)
    with pytest.raises(OutputError, match="too long"):
        check_output(tmp_path / ("a" * 300) / "out.txt", overwrite=False)


def test_the_working_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").write_text("x")
    with pytest.raises(OutputError, match="folder you are in"):
        check_output(".", overwrite=True)


def test_a_pipe_is_never_replaced(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.csv")  # as /dev/null and /dev/stdout would be, by root
    with pytest.raises(OutputError, match="pipe or a device"):
        check_output(tmp_path / "pipe.csv", overwrite=True)
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path):
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "b").write_text("x")
    with pytest.raises(OutputError, match="did not write"), _new_folder(precious, overwrite=True):
        pass
    assert (precious / "b").read_text() == "x"


def test_an_output_that_another_process_wrote_meanwhile_is_kept(tmp_path: Path):
    def race_for_folder():
        with _new_folder(tmp_path / "out", overwrite=False) as part:
            (part / "a").write_text("second")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "a").write_text("first")

    def race_for_file():
        with new_output_file(tmp_path / "f", overwrite=False) as part:
            part.write_text("second")
            (tmp_path / "f").write_text("first")

    for race in (race_for_folder, race_for_file):
        with pytest.raises(OutputError, match="exists already"):
            race()
    assert (tmp_path / "out" / "a").read_text() == (tmp_path / "f").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "out"]


def test_a_name_that_is_too_long_is_one_clear_error(tmp_path: Path):
    with pytest.raises(OutputError, match="too long"):
        check_output(tmp_path / ("a" * 300), overwrite=False)


MODEL, CARD, PAGE, SEAL = "m.onnx", "m.card.json", "m.md", "m.sig"


def _write_set(folder: Path, text: str, *, overwrite: bool = True) -> None:
    beside = (folder / CARD, folder / PAGE)
    with new_output_files(folder / MODEL, beside, (folder / SEAL,), overwrite=overwrite) as parts:
        for part in parts:
            part.write_text(text)


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def older_set(tmp_path: Path) -> Path:
    for name in (MODEL, CARD, PAGE, SEAL):
        (tmp_path / name).write_text("old")
    return tmp_path


def test_old_and_new_files_of_a_set_never_lie_side_by_side(older_set: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def watched(change):
        def changed(*args, **options):
            change(*args, **options)
            seen.append(_texts(older_set))

        return changed

    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    _write_set(older_set, "new")
    assert {"m.onnx": "old"} in seen
    assert {"m.onnx": "new"} in seen
    assert all(MODEL in texts and len(set(texts.values())) == 1 for texts in seen)
    assert _texts(older_set) == {MODEL: "new", CARD: "new", PAGE: "new"}
    assert _leftovers(older_set) == []


def test_a_set_whose_work_fails_is_not_touched(older_set: Path):
    def work() -> None:
        with new_output_files(older_set / MODEL, (older_set / CARD,), (older_set / SEAL,), overwrite=True) as parts:
            parts[1].write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert _texts(older_set) == {MODEL: "old", CARD: "old", PAGE: "old", SEAL: "old"}
    assert _leftovers(older_set) == []


@pytest.mark.parametrize("name", [MODEL, CARD, PAGE, SEAL])
def test_one_file_of_a_set_that_exists_keeps_all_away(tmp_path: Path, name: str):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        _write_set(tmp_path, "new", overwrite=False)
    assert _texts(tmp_path) == {name: "mine"}
