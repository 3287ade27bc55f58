from dataclasses import replace

import pytest
import torch

from ctcnet.networks import build_classifier
from ctcnet.runtime.predictions import CPU_BATCH_SIZE, GPU_BATCH_SIZE, batch_size_on
from ctcnet.training.torch_predictor import TorchPredictor

pytestmark = pytest.mark.unit


@pytest.fixture
def predictor(two_channel_card):
    torch.manual_seed(0)
    card = replace(two_channel_card, crop_size_px=16)
    return TorchPredictor(build_classifier(card.backbone, card.panel.roles, 5), card)


def test_batches_follow_the_device(predictor):
    assert predictor.batch_size == batch_size_on("cpu") == CPU_BATCH_SIZE
    assert TorchPredictor(predictor.network, predictor.card, "meta").batch_size == batch_size_on("cuda")
    assert batch_size_on("cuda") == GPU_BATCH_SIZE
