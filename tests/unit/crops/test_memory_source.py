import numpy as np
import pytest

from ctcnet.crops.memory_source import in_memory, simulated_in_memory

pytestmark = pytest.mark.unit


@pytest.fixture
def crops(two_channel_card):
    pixels = np.random.default_rng(0).integers(0, 4096, (3, 2, 8, 8)).astype(np.uint16)
    group = np.array(["a", "b", "b"], object)
    levels = np.full((3, 2), np.nan, np.float32)
    return simulated_in_memory(two_channel_card, pixels, np.array([4, 0, 1]), group, levels, levels)


def test_rows_are_the_pixels_given(crops):
    chosen = crops.subset([2, 0])
    np.testing.assert_array_equal(chosen.read(slice(None), 0.5, 8), crops.source.pixels[[2, 0]])
    assert chosen.labels.tolist() == [1, 4]
    assert chosen.simulated


def test_hash_is_of_the_pixels(crops):
    changed = crops.source.pixels.copy()
    changed[1, 0, 0, 0] += 1
    assert in_memory(crops, changed).sha256 != crops.sha256
    assert in_memory(crops, crops.source.pixels.copy()).sha256 == crops.sha256
