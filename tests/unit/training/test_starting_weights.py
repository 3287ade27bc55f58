import pytest
import torch

from ctcnet.errors import ModelFileError, SettingError
from ctcnet.networks import build_classifier
from ctcnet.training.checkpoint import write_model
from ctcnet.training.classifier_module import ClassifierModule
from ctcnet.training.starting_weights import (
    StartingWeights,
    find_start,
    freeze_parts,
    frozen_parts,
    read_start,
    start_network,
)

pytestmark = pytest.mark.unit

ROLES = ("nucleus", "leukocyte", "epithelial")
CLASSES = ("ctc", "leukocyte", "debris")


def _start(roles=("nucleus", "epithelial"), classes=CLASSES, backbone="compact"):
    torch.manual_seed(1)
    state = build_classifier(backbone, roles, len(classes)).state_dict()
    return StartingWeights("first", "ab", backbone, classes, 0.5, 32, "cartridge", state)


def test_weights_go_to_the_channel_of_their_role():
    start = _start(roles=("epithelial", "leukocyte", "nucleus"))
    network = build_classifier("compact", ROLES, 3)
    assert start_network(network, start, "compact", CLASSES) == ()
    for name, value in network.state_dict().items():
        assert torch.equal(value, start.state[name])


def test_role_that_is_new_stays_random_and_is_named():
    network = build_classifier("compact", ROLES, 3)
    before = network.state_dict()["backbone.stem.filters.leukocyte"].clone()
    (note,) = start_network(network, _start(), "compact", CLASSES)
    assert "no channel of role leukocyte" in note
    assert torch.equal(network.state_dict()["backbone.stem.filters.leukocyte"], before)


def test_panel_without_a_nucleus_is_named():
    network = build_classifier("compact", ROLES[1:], 3)
    (note,) = start_network(network, _start(roles=ROLES), "compact", CLASSES)
    assert "no channel of role nucleus" in note
    assert start_network(network, _start(roles=ROLES[1:]), "compact", CLASSES) == ()


@pytest.mark.parametrize("classes", [CLASSES[::-1], (*CLASSES[:2], "other"), CLASSES[:2]])
def test_last_layer_is_taken_for_the_same_classes_alone(classes):
    start = _start(roles=ROLES)
    network = build_classifier("compact", ROLES, len(classes))
    before = network.head.weight.clone()
    (note,) = start_network(network, start, "compact", classes)
    assert "last layer starts at random" in note
    assert torch.equal(network.head.weight, before)
    assert torch.equal(network.state_dict()["backbone.stem_norm.weight"], start.state["backbone.stem_norm.weight"])


def test_another_backbone_is_refused():
    with pytest.raises(SettingError, match="another kind") as caught:
        start_network(build_classifier("resnet18", ROLES, 3), _start(), "resnet18", CLASSES)
    assert caught.value.found == "resnet18"


def test_weights_of_another_shape_are_refused():
    start = _start(roles=ROLES)
    state = {**start.state, "backbone.statistics.hidden.weight": torch.zeros(3, 3)}
    with pytest.raises(ModelFileError, match="do not fit"):
        start_network(
            build_classifier("compact", ROLES, 3),
            StartingWeights(**{**vars(start), "state": state}),
            "compact",
            CLASSES,
        )


def test_frozen_parts_keep_weights_and_statistics():
    network = build_classifier("compact", ROLES, 3).train()
    freeze_parts(network, "stem")
    assert not network.backbone.stem.training
    assert not any(p.requires_grad for part in frozen_parts(network, "stem") for p in part.parameters())
    assert network.backbone.stages.training
    assert all(p.requires_grad for p in network.backbone.stages.parameters())
    freeze_parts(network, "backbone")
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert frozen_parts(network, "none") == []


PLATELET_ROLES = ("nucleus", "epithelial", "platelet")


def test_shipped_weights_follow_the_mode(shipped_models):
    cartridge, fixed, per_crop = (
        read_start("ctcnet-s", mode, ("nucleus",)) for mode in ("cartridge", "fixed", "per_crop")
    )
    name = "backbone.stem.filters.nucleus"
    assert torch.equal(cartridge.state[name], fixed.state[name])
    assert not torch.equal(cartridge.state[name], per_crop.state[name])
    assert (cartridge.name, cartridge.crop_size_px) == ("ctcnet-s", 32)
    assert [start.mode for start in (cartridge, fixed, per_crop)] == ["cartridge", "cartridge", "per_crop"]


def test_a_panel_with_a_platelet_marker_starts_from_the_weights_made_for_it(shipped_models):
    name = "backbone.stem.filters.nucleus"
    without, with_it = (read_start("ctcnet-s", "fixed", roles).state[name] for roles in (("nucleus",), PLATELET_ROLES))
    lone = read_start("ctcnet-s", "per_crop", PLATELET_ROLES).state[name]
    assert not torch.equal(without, with_it)
    assert not torch.equal(with_it, lone)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_checkpoint_with_weights_that_are_not_finite_is_no_start(two_channel_card, tmp_path, value):
    network = build_classifier("compact", two_channel_card.panel.roles, 5)
    with torch.no_grad():
        network.head.bias[2] = value
    write_model(tmp_path / "best.ckpt", network, two_channel_card, 0, 0)
    with pytest.raises(ModelFileError, match="not finite") as caught:
        read_start(str(tmp_path), "cartridge", ("nucleus",))
    assert "head.bias" in str(caught.value.found)


def test_folder_with_the_name_of_a_shipped_model_is_started_from_by_its_path(shipped_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctcnet-s").mkdir()
    (tmp_path / "ctcnet-s" / "best.ckpt").write_bytes(b"")
    assert find_start("ctcnet-s") == shipped_models / "ctcnet-s" / "weights.safetensors"
    assert find_start("./ctcnet-s").resolve() == tmp_path / "ctcnet-s" / "best.ckpt"


@pytest.mark.parametrize("start_from", ["ctcnet-x", "nowhere.ckpt", "model.onnx", "."])
def test_what_is_no_start_lists_what_is(shipped_models, tmp_path, monkeypatch, start_from):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError) as caught:
        find_start(start_from)
    assert "checkpoint (.ckpt)" in str(caught.value)
    assert "ctcnet-s" in str(caught.value.expected)


def test_run_folder_stands_for_its_best_checkpoint(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"")
    assert find_start(str(tmp_path)) == tmp_path / "best.ckpt"


def test_random_weights_are_not_frozen():
    with pytest.raises(SettingError, match="random weights would be frozen"):
        ClassifierModule(freeze="stem")
