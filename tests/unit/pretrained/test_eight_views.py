"""A network that looks at each crop from eight sides and teaches another."""

import numpy as np
import pytest
import torch

from ctcnet.pretrained.eight_views import EightViews, eight_views
from ctcnet.pretrained.universal_module import UniversalModule, UniversalSettings
from ctcnet.pretrained.universal_network import build_universal, logits_of_parts
from ctcnet.simulate.crop_stream import Part, Piece

pytestmark = pytest.mark.unit

ROLES = ("nucleus", "epithelial", "leukocyte")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_universal(5)
    for _ in range(3):  # running statistics of batch norm
        logits_of_parts(network, [Part(torch.rand(32, 3, 64, 64), ROLES, torch.zeros(32).long())], torch.arange(32))
    return network.eval()


def _piece(x: torch.Tensor) -> Piece:
    labels = torch.zeros(len(x), dtype=torch.long)
    return Piece(ROLES, x, labels, labels, np.zeros((1, 3)), np.ones((1, 3)))


def test_the_views_are_the_symmetries_of_a_square() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    views = [view.numpy()[0, 0] for view in eight_views(x)]
    turned = [np.rot90(side, quarter) for side in (x.numpy()[0, 0], x.numpy()[0, 0].T) for quarter in range(4)]
    assert {view.tobytes() for view in views} == {np.ascontiguousarray(side).tobytes() for side in turned}
    assert np.array_equal(views[0], x.numpy()[0, 0])


def test_the_answer_is_the_mean_over_the_views_of_the_universal_network(network) -> None:
    x = torch.rand(70, 3, 64, 64).half()
    with torch.no_grad():
        logits = [
            logits_of_parts(network, [Part(view.float(), ROLES, torch.zeros(70).long())]) for view in eight_views(x)
        ]
    wanted = torch.stack(logits).mean(0).softmax(1)
    found = EightViews(network.state_dict())(_piece(x))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    assert float((logits[0] - logits[5]).abs().max()) > 1e-3, "the views must differ for the mean to be tested"


def test_a_turned_and_mirrored_crop_has_the_same_answer(network) -> None:
    teacher, x = EightViews(network.state_dict()), torch.rand(4, 3, 64, 64).half()
    torch.testing.assert_close(teacher(_piece(x)), teacher(_piece(x.transpose(2, 3).flip(3))), atol=1e-5, rtol=1e-4)


def _loss(share: float, taught: torch.Tensor | None) -> float:
    torch.manual_seed(0)
    module = UniversalModule(UniversalSettings(40, dropout=0.0, label_smoothing=0.0, taught_share=share))
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    labels = torch.arange(8) % 2
    x = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return float(module.training_step([Part(x, ROLES, labels, taught)], 0).detach())


def test_the_loss_is_of_labels_and_of_the_teachers_answers_by_their_share() -> None:
    answers = torch.rand(8, 5, generator=torch.Generator().manual_seed(2)).softmax(1)
    labels, taught = _loss(0.3, None), _loss(1.0, answers)
    assert _loss(0.0, answers) == pytest.approx(labels)
    assert _loss(0.3, answers) == pytest.approx(0.7 * labels + 0.3 * taught, rel=1e-5)
    assert taught != pytest.approx(labels, rel=1e-2)
