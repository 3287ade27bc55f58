import numpy as np
import pytest
import torch
from torch import nn

from ctcnet.networks import build_classifier
from ctcnet.networks.bounded_relu import LIMIT, UNBOUNDED, BoundedReLU, set_limit

pytestmark = pytest.mark.unit

ROLES = ("nucleus", "epithelial", "leukocyte")


@pytest.mark.parametrize("limit", [0.5, LIMIT, UNBOUNDED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_are_those_of_numpy_and_of_what_is_deployed(limit: float, dtype: torch.dtype):
    x = (torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0)) * 8).to(dtype)
    module = BoundedReLU(limit)
    found = module(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.float().numpy(), np.clip(x.float().numpy(), 0, limit))
    np.testing.assert_array_equal(found.float().numpy(), module.deployable()(x).float().numpy())


def test_without_a_bound_a_plain_relu_is_deployed():
    assert isinstance(BoundedReLU(UNBOUNDED).deployable(), nn.ReLU)


def test_the_limit_travels_with_the_weights():
    network, other = (build_classifier("compact", ROLES, 5).eval() for _ in range(2))
    set_limit(network, 0.25)
    other.load_state_dict(network.state_dict())
    x = torch.rand(4, len(ROLES), 64, 64, generator=torch.Generator().manual_seed(1)) * 40
    with torch.inference_mode():
        logits, embedding = network(x)
        again, _ = other(x)
        set_limit(other, UNBOUNDED)
        unbounded, _ = other(x)
    torch.testing.assert_close(logits, again, rtol=0, atol=0)
    assert (logits - unbounded).abs().max() > 1e-3
    assert embedding[:, :192].max() <= 0.25  # pooled maps stand before the statistics of stains


def test_a_network_whose_activations_have_no_limit_written_down_is_refused():
    network = build_classifier("compact", ROLES, 5)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith(".limit")}
    with pytest.raises(RuntimeError, match="limit"):
        network.load_state_dict(state)
