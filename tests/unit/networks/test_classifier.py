"""Classifiers of every backbone: presence, deployment, cost and ONNX."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ctcnet.errors import PanelError, SettingError
from ctcnet.networks import backbone_names, build_classifier
from ctcnet.networks.batch_norm import BatchNorm2d
from ctcnet.networks.classifier import CellClassifier

pytestmark = pytest.mark.unit

ROLES = ("nucleus", "epithelial", "leukocyte", "target", "target")


def _trained(backbone: str) -> CellClassifier:
    """A classifier whose batch norms and biases are far from their initial values."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    model = build_classifier(backbone, ROLES, 4, dropout=0.3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "role_bias" in name or "deviation" in name:
                parameter.normal_(std=0.1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
                assert module.running_var is not None
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
    return model.eval()


@pytest.mark.parametrize("backbone", backbone_names())
@torch.no_grad()
def test_deployable_gives_the_same_answers(backbone):
    model = _trained(backbone)
    x = torch.randn(3, 5, 64, 64)
    before = model(x)
    deployed = model.deployable()
    after = deployed(x)
    scale = max(1.0, before.logits.abs().max().item(), before.embedding.abs().max().item())
    torch.testing.assert_close(after.logits, before.logits, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(after.embedding, before.embedding, rtol=0, atol=1e-5 * scale)
    assert before.logits.std() > 1e-4  # not a constant answer
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())
    torch.testing.assert_close(model(x).logits, before.logits, rtol=0, atol=0)  # the original is untouched


@pytest.mark.parametrize("backbone", ["compact", "resnet18"])
@torch.no_grad()
def test_an_absent_channel_is_ignored_and_differs_from_a_dark_one(backbone):
    model = _trained(backbone)
    x = torch.randn(2, 5, 64, 64)
    presence = torch.tensor([[True, True, False, True, True]] * 2)
    reference = model(x, presence).logits
    changed = x.clone()
    changed[:, 2] = float("inf")
    torch.testing.assert_close(model(changed, presence).logits, reference)
    dark = x.clone()
    dark[:, 2] = 0
    assert (model(dark).logits - reference).abs().max() > 1e-4


def test_every_batch_norm_of_torchvision_is_synchronised():
    norms = [m for m in build_classifier("resnet18", ROLES, 4).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert all(isinstance(norm, BatchNorm2d) for norm in norms)


def test_compact_costs_at_most_9_million_multiply_accumulates():
    model = _trained("compact").deployable()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 5, 64, 64))
    assert 1e6 < counter.get_total_flops() / 2 <= 9e6


def test_compact_sees_the_absolute_amount_of_stain():
    model = _trained("compact").backbone
    x = torch.rand(1, 5, 64, 64)
    statistics = model.statistics
    assert (statistics(1.1 * x) - statistics(x)).abs().max() > 1e-3


def test_autocast_keeps_the_amounts_of_stain_and_the_head_in_float32():
    model = _trained("compact")
    x = torch.rand(2, 5, 64, 64)
    with torch.no_grad():
        expected = model.backbone.statistics(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.backbone.statistics(x), expected)
            assert model(x).logits.dtype == torch.float32


def test_dropout_in_training_repeats_with_its_seeds():
    model = _trained("compact").train()
    x, seeds = torch.randn(4, 5, 64, 64), torch.arange(4)
    first, again, other = (model(x, None, s).logits for s in (seeds, seeds, seeds + 9))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(SettingError, match="sample_seed"):
        model(x)


def test_weights_carry_over_to_a_panel_with_fewer_channels():
    model, smaller = _trained("compact"), build_classifier("compact", ROLES[:2], 4).eval()
    missing = smaller.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert missing == []
    x = torch.randn(2, 5, 64, 64)
    presence = torch.tensor([[True, True, False, False, False]] * 2)
    torch.testing.assert_close(smaller(x[:, :2]).logits, model(x, presence).logits, rtol=1e-4, atol=1e-5)


def test_wrong_settings_are_refused():
    with pytest.raises(SettingError, match="classes"):
        build_classifier("compact", ROLES, 1)
    with pytest.raises(PanelError, match="role"):
        build_classifier("compact", ["nucleus", "none"], 5)
    with pytest.raises(PanelError, match="panel"):
        build_classifier("compact", ROLES, 5).eval()(torch.zeros(1, 4, 64, 64))


def test_compact_exports_to_onnx_with_a_dynamic_batch(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = _trained("compact").deployable()
    x = torch.randn(9, 5, 64, 64)
    program = torch.onnx.export(
        model,
        (x[:3],),
        dynamo=True,
        opset_version=18,
        dynamic_shapes={"x": {0: torch.export.Dim("n")}},
        input_names=["x"],
        output_names=["logits", "embedding"],
        verbose=False,
    )
    assert program is not None
    program.save(str(tmp_path / "compact.onnx"), external_data=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "compact.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 2, 9):
        logits, embedding = session.run(None, {"x": x[:count].numpy()})
        with torch.no_grad():
            expected = model(x[:count])
        torch.testing.assert_close(torch.from_numpy(logits), expected.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(embedding), expected.embedding, rtol=1e-4, atol=1e-5)
