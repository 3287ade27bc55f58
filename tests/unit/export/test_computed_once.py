"""What a network and the score of atypicality both need is computed once in the graph."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ctcnet.export.onnx_file import trace
from ctcnet.normalization import BLOCK_PX, INPUT_LIMIT
from ctcnet.stain_amounts import NUM_AMOUNTS, stain_amounts
from ctcnet.uncertainty import fit_atypicality, typical_features

pytestmark = pytest.mark.unit

SIDE_PX = 64
"""Constants of smaller crops are merged by the exporter itself."""


class AmountsNetwork(nn.Module):
    """Classifies by the amounts of stain alone; gives (logits, embedding) as classifiers do."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(2 * NUM_AMOUNTS, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.relu(self.hidden(stain_amounts(x.clamp(max=INPUT_LIMIT), BLOCK_PX).logs.flatten(1)))
        return self.head(embedding), embedding

    def deployable(self) -> nn.Module:
        return self


@pytest.fixture
def graph(make_predictor):
    predictor = make_predictor(crop_size_px=SIDE_PX)
    predictor.network = AmountsNetwork().eval()
    found = typical_features(predictor.network, [torch.rand(600, 2, SIDE_PX, SIDE_PX)])
    predictor.atypicality = fit_atypicality(found.embedding, found.statistics, np.arange(600) % 5)
    return trace(predictor, 18, "uint16").graph


def test_no_two_nodes_compute_the_same(graph):
    made = [
        (node.op_type, *node.input, *sorted(entry.SerializeToString() for entry in node.attribute))
        for node in graph.node
    ]
    assert len(made) == len(set(made)) > 30


def test_no_constant_is_kept_twice(graph):
    values = [(tensor.data_type, *tensor.dims, tensor.raw_data) for tensor in graph.initializer if tensor.raw_data]
    assert len(values) == len(set(values)) > 5


def test_outputs_and_weights_keep_their_names(graph):
    assert [value.name for value in graph.output] == ["probabilities", "unassigned", "atypicality", "embedding"]
    assert {"network.hidden.weight", "network.head.weight"} <= {tensor.name for tensor in graph.initializer}
