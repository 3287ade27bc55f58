import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.errors import CtcnetError, ModelPanelError, PanelError, SettingError
from ctcnet.panel import BIT_DEPTHS, ROLES, Channel, Panel, load_panel, panel_from_dict, select_channels
from ctcnet.resources import resource_dir

pytestmark = pytest.mark.unit

SHIPPED = sorted(path.stem for path in (resource_dir("configs") / "panels").glob("*.yaml"))
marker_names = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_", min_size=1, max_size=8)


def _content(**changes):
    content = {
        "name": "p",
        "bit_depth": 12,
        "channels": [{"marker": "DAPI", "role": "nucleus"}, {"marker": "CK", "role": "epithelial"}],
    }
    return {**content, **changes}


def test_panels_promised_are_shipped():
    assert {"ctc5", "cellsearch4", "sarcoma", "hdsca4", "rarecyte6", "rgb_merge", "imaging_flow"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_panel_loads_and_survives_a_round_trip(name):
    panel = load_panel(name)
    assert panel.name == name
    assert panel_from_dict(panel.to_dict()) == panel


def test_rgb_order_maps_channels_to_planes():
    panel = load_panel("rgb_merge")
    assert panel.markers == ("CK", "CD45", "DAPI")
    assert panel.rgb_order == (0, 1, 2)
    assert load_panel("ctc5").rgb_order is None


def test_full_scale_follows_bit_depth():
    assert load_panel("ctc5").full_scale == 4095


def test_network_panel_leaves_out_channels_without_role():
    panel = Panel("p", (Channel("DAPI", "nucleus"), Channel("BF", "none")), 12)
    assert panel.network_panel().markers == ("DAPI",)
    with pytest.raises(PanelError, match="no channel with a role"):
        Panel("p", (Channel("BF", "none"),), 12).network_panel()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_content(channels=[]), "no channels"),
        (_content(channels="DAPI"), "no list"),
        (_content(channels=["DAPI"]), "no mapping"),
        (_content(channels=[{"marker": "CK", "role": "epithelial"}, {"marker": "ck", "role": "target"}]), "twice"),
        (_content(channels=[{"marker": "CK", "role": "tumor"}]), "unknown role"),
        (_content(channels=[{"marker": "CK"}]), "missing role"),
        (_content(channels=[{"marker": "CK", "role": "epithelial", "colour": "red"}]), "unknown colour"),
        (_content(channels=[{"marker": "a/b", "role": "epithelial"}]), "file names"),
        (_content(channels=[{"marker": "CK", "role": "epithelial", "plane": "X"}]), "unknown plane"),
        (_content(bit_depth=11), "bit depth"),
        (_content(bit_depth="twelve"), "no number"),
        (_content(pixel_size_um=0), "pixel size"),
        (_content(pixelsize=1), "unknown pixelsize"),
        ({"name": "p"}, "missing bit_depth, channels"),
    ],
)
def test_malformed_panel_is_one_clear_error(content, message):
    with pytest.raises(PanelError, match=message):
        panel_from_dict(content)


def test_unknown_panel_name_lists_the_shipped_ones():
    with pytest.raises(SettingError, match="ctc5"):
        load_panel("ctc6")


def test_key_given_twice_in_yaml_is_refused(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(_content()) + "bit_depth: 16\n")
    with pytest.raises(PanelError, match="twice"):
        load_panel(path)


@given(names=st.lists(marker_names, min_size=1, max_size=6, unique_by=str.casefold), data=st.data())
@settings(max_examples=30)
def test_select_channels_finds_every_channel_by_name(names, data):
    wanted = data.draw(st.permutations(names))
    order = select_channels([name.upper() for name in names], wanted, "x")
    assert [names[position] for position in order] == list(wanted)


def test_select_channels_lists_both_sides():
    with pytest.raises(ModelPanelError) as caught:
        select_channels(["DAPI", "CD16"], ["DAPI", "CK"], "model.onnx")
    text = str(caught.value)
    assert "missing: CK" in text
    assert "not known: CD16" in text
    assert caught.value.exit_code == 2


@given(
    roles=st.lists(st.sampled_from(ROLES), min_size=1, max_size=5),
    bit_depth=st.sampled_from(BIT_DEPTHS),
    pixel_size_um=st.one_of(st.none(), st.floats(0.05, 5)),
)
@settings(max_examples=30)
def test_any_valid_panel_survives_a_round_trip(roles, bit_depth, pixel_size_um):
    channels = tuple(Channel(f"m{position}", role) for position, role in enumerate(roles))
    panel = Panel("any", channels, bit_depth, pixel_size_um)
    assert panel_from_dict(panel.to_dict()) == panel


@given(st.dictionaries(st.sampled_from(["name", "bit_depth", "channels", "x"]), st.from_type(object)))
@settings(max_examples=30)
def test_no_content_gives_a_traceback_other_than_ours(content):
    with contextlib.suppress(CtcnetError):
        panel_from_dict(content)
