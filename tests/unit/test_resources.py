from pathlib import Path

import pytest

from ctcnet.errors import SettingError
from ctcnet.resources import find_config, resource_dir

pytestmark = pytest.mark.unit


def test_a_shipped_name_and_its_path_are_the_same_file():
    path = find_config("panels", "ctc5")
    assert find_config("panels", path) == path
    assert find_config("", "five_class") == resource_dir("configs") / "five_class.yaml"
    assert find_config("", "overlays/smoke").name == "smoke.yaml"


def test_a_file_of_the_user_comes_before_names(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text("name: own")
    assert find_config("panels", own) == own


@pytest.mark.parametrize("name", ["ctc6", "../labels/five_class", "/etc/passwd", "", "no.yaml"])
def test_an_unknown_name_lists_the_choices(name: str):
    with pytest.raises(SettingError, match="ctc5"):
        find_config("panels", name)


def test_an_unknown_experiment_lists_overlays_too():
    with pytest.raises(SettingError, match="overlays/smoke"):
        find_config("", "six_class")
