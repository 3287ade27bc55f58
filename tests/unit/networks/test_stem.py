"""Panel-aware stem."""

import pytest
import torch

from ctcnet.errors import PanelError
from ctcnet.networks.stem import PanelStem, role_slots

pytestmark = pytest.mark.unit


def _random_stem(roles, seed=0):
    torch.manual_seed(seed)
    stem = PanelStem(roles, 8, kernel_size=5, stride=2, padding=2)
    with torch.no_grad():
        for parameter in stem.parameters():
            parameter.normal_()
    return stem


def test_specialised_stem_gives_the_same_answers():
    stem = _random_stem(["nucleus", "target", "target", "leukocyte"])
    x = torch.randn(3, 4, 17, 17)
    torch.testing.assert_close(stem.specialise()(x), stem(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stem(x, torch.ones(3, 4, dtype=torch.bool)), stem(x), rtol=1e-5, atol=1e-5)


def test_an_absent_channel_contributes_nothing_whatever_it_holds():
    stem = _random_stem(["nucleus", "leukocyte"])
    x = torch.randn(2, 2, 16, 16)
    presence = torch.tensor([[True, False], [True, True]])
    reference = stem(x, presence)
    x[0, 1] = float("nan")
    torch.testing.assert_close(stem(x, presence), reference)
    alone = _random_stem(["nucleus"])
    alone.load_state_dict({name: value for name, value in stem.state_dict().items() if name.endswith("nucleus")})
    torch.testing.assert_close(reference[0], alone(x[:1, :1])[0], rtol=1e-5, atol=1e-5)


def test_absent_differs_from_dark():
    stem = _random_stem(["nucleus", "leukocyte"])
    x = torch.randn(1, 2, 16, 16)
    x[:, 1] = 0
    dark = stem(x, torch.tensor([[True, True]]))
    absent = stem(x, torch.tensor([[True, False]]))
    expected = stem.role_bias["leukocyte"][None, :, None, None].expand_as(dark)
    torch.testing.assert_close(dark - absent, expected, rtol=1e-4, atol=1e-5)


def test_a_second_channel_of_a_role_starts_equal_and_may_deviate():
    stem = PanelStem(["target", "target"], 4, kernel_size=3, stride=1, padding=1)
    weight = stem.weight()
    torch.testing.assert_close(weight[:, 0], weight[:, 1])
    with torch.no_grad():
        stem.deviation["target_1"].add_(1.0)
    torch.testing.assert_close(stem.weight()[:, 1], weight[:, 1] + 1.0)


def test_weights_carry_over_to_a_panel_in_another_order():
    roles = ["nucleus", "epithelial", "leukocyte"]
    stem, other = _random_stem(roles), _random_stem(roles[::-1], seed=1)
    other.load_state_dict(stem.state_dict())
    x = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(other(x.flip(1)), stem(x), rtol=1e-5, atol=1e-5)


def test_only_the_given_roles_have_parameters():
    names = set(dict(PanelStem(["probe"], 4, 3, 1, 1).named_parameters()))
    assert names == {"filters.probe", "role_bias.probe"}


@pytest.mark.parametrize("roles", [[], ["nucleus", "none"], ["necleus"]])
def test_roles_that_cannot_be_fed_are_refused(roles):
    with pytest.raises(PanelError, match="role"):
        role_slots(roles)


def test_wrong_channels_and_wrong_presence_are_refused():
    stem = _random_stem(["nucleus", "leukocyte"])
    with pytest.raises(PanelError, match=r"\(N, 2, H, W\)"):
        stem(torch.zeros(1, 3, 16, 16))
    with pytest.raises(PanelError, match="presence"):
        stem(torch.zeros(1, 2, 16, 16), torch.ones(1, 2))
