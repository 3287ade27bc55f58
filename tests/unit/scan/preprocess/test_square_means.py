"""Means over squares agree with scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import block_reduce

from ctcnet.scan.preprocess.square_means import square_means

pytestmark = pytest.mark.unit


@given(st.integers(1, 4), st.integers(0, 9), st.integers(0, 9), st.integers(1, 3))
def test_means_are_those_of_scikit_image(side: int, below: int, right: int, stride: int) -> None:
    values = np.random.default_rng(0).random((2, stride * (side + below), stride * (side + right))).astype(np.float32)
    counts = values[:, ::stride, ::stride]
    height, width = (length // side * side for length in counts.shape[1:])
    expected = block_reduce(counts[:, :height, :width], (1, side, side), np.mean)
    image = torch.from_numpy(values)[:, ::stride, ::stride]
    np.testing.assert_allclose(square_means(image, side).numpy(), expected, rtol=2e-6)
    np.testing.assert_array_equal(image.numpy(), counts)
