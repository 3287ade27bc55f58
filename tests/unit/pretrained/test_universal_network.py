"""One network for every panel gives the answers of the panel's own network."""

import pytest
import torch

from ctcnet.networks import build_classifier
from ctcnet.panel import load_panel
from ctcnet.pretrained.universal_module import UniversalModule, UniversalSettings
from ctcnet.pretrained.universal_network import UNIVERSAL_ROLES, build_universal, logits_of_parts, universal_slots
from ctcnet.simulate.crop_stream import Part
from ctcnet.training.starting_weights import specialised_state

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def universal():
    torch.manual_seed(0)
    network = build_universal(5)
    for name, value in network.named_parameters():
        if "deviation" in name:  # they start at zero: a test must be able to see them
            torch.nn.init.normal_(value, std=0.1)
    parts = [Part(torch.rand(32, 3, 64, 64), ("nucleus", "epithelial", "leukocyte"), torch.zeros(32).long())]
    for _ in range(3):
        logits_of_parts(network, parts, torch.arange(32))
    return network.eval()


@pytest.mark.parametrize("name", ["ctc5", "rarecyte6", "imaging_flow", "sarcoma"])
def test_a_panels_own_network_gives_the_universal_answers(universal, name: str) -> None:
    roles = load_panel(name).network_panel().roles
    own = build_classifier("compact", roles, 5)
    own.load_state_dict(specialised_state(universal.state_dict(), own))
    x = torch.rand(6, len(roles), 64, 64)
    with torch.no_grad():
        expected = logits_of_parts(universal, [Part(x, roles, torch.zeros(6).long())])
        torch.testing.assert_close(own.eval()(x).logits, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(own.deployable()(x).logits, expected, atol=1e-4, rtol=1e-3)


def test_parts_of_other_panels_do_not_change_an_answer(universal) -> None:
    first = Part(torch.rand(4, 2, 64, 64), ("nucleus", "mesenchymal"), torch.zeros(4).long())
    second = Part(torch.rand(3, 3, 64, 64), ("nucleus", "epithelial", "target"), torch.zeros(3).long())
    with torch.no_grad():
        together = logits_of_parts(universal, [first, second])
        alone = torch.cat([logits_of_parts(universal, [part]) for part in (first, second)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_second_channel_of_a_role_has_weights_of_its_own_and_a_third_those_of_the_second() -> None:
    first, second, third = universal_slots(("epithelial", "epithelial", "epithelial"))
    assert UNIVERSAL_ROLES[first] == UNIVERSAL_ROLES[second] == "epithelial"
    assert first != second == third


def test_training_lowers_the_loss_on_two_kinds_of_pictures() -> None:
    torch.manual_seed(0)
    module = UniversalModule(UniversalSettings(40, warmup_steps=4, dropout=0.0))
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    chosen = module.configure_optimizers()
    labels = torch.arange(32) % 2
    x = torch.rand(32, 2, 64, 64) * (1 + 2 * labels[:, None, None, None])
    batch = [Part(x, ("nucleus", "epithelial"), labels)]
    losses = []
    for step in range(40):
        loss = module.training_step(batch, step)
        chosen["optimizer"].zero_grad()
        loss.backward()
        chosen["optimizer"].step()
        chosen["lr_scheduler"]["scheduler"].step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_weights_beyond_their_range_add_to_the_loss() -> None:
    labels = torch.arange(8) % 2
    batch = [Part(torch.rand(8, 2, 64, 64), ("nucleus", "epithelial"), labels)]

    def loss_with(weight_range: float | None, cost: float) -> float:
        torch.manual_seed(0)
        settings = UniversalSettings(40, dropout=0.0, weight_range=weight_range, range_cost=cost)
        module = UniversalModule(settings)
        module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
        return float(module.training_step(batch, 0).detach())

    free, cheap, dear = loss_with(None, 1.0), loss_with(2.0, 1.0), loss_with(2.0, 3.0)
    assert dear - free == pytest.approx(3 * (cheap - free), rel=1e-3)
    assert cheap > free
