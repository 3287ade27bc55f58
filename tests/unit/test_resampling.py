import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from skimage.transform import resize

from ctcnet.errors import SettingError
from ctcnet.resampling import border_median, resample_crop, resampling_matrix

pytestmark = pytest.mark.unit


def _smooth_image(size: int, channels: int = 2) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    return np.stack([1000 + 500 * np.sin(3 * x + c) * np.cos(2 * y) for c in range(channels)]).astype(np.float32)


@given(size=st.integers(4, 40), target=st.integers(4, 40), step=st.floats(0.2, 5))
@settings(max_examples=30)
def test_weights_are_an_average_of_what_is_inside(size, target, step):
    weights, coverage = resampling_matrix(size, target, step)
    assert weights.shape == (target, size)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), coverage, rtol=1e-5)
    assert coverage.max() <= 1 + 1e-6


@given(size=st.integers(5, 30), target=st.integers(4, 30), step=st.floats(0.3, 3), value=st.integers(0, 65535))
@settings(max_examples=30)
def test_a_flat_image_stays_flat(size, target, step, value):
    image = np.full((1, size, size), value, np.uint16)
    out = resample_crop(image, 1.0, step, target)
    assert out.dtype == np.uint16
    assert np.abs(out.astype(int) - value).max() <= 1


def test_same_scale_and_size_is_bit_equal():
    image = np.random.default_rng(0).integers(0, 65536, (3, 40, 40)).astype(np.uint16)
    np.testing.assert_array_equal(resample_crop(image, 0.5, 0.5, 40), image)


def test_same_scale_cuts_about_the_centre():
    image = np.random.default_rng(0).integers(0, 4096, (1, 40, 44)).astype(np.uint16)
    np.testing.assert_array_equal(resample_crop(image, 0.5, 0.5, 32), image[:, 4:36, 6:38])


def test_padding_is_the_median_of_the_border():
    image = np.full((1, 8, 8), 7, np.uint16)
    image[0, 2:6, 2:6] = 1000
    out = resample_crop(image, 1.0, 1.0, 16)
    assert (out[0, :4] == 7).all()
    np.testing.assert_array_equal(out[0, 4:12, 4:12], image[0])
    np.testing.assert_array_equal(border_median(image), [7])


def test_enlarging_agrees_with_scipy_linear_interpolation():
    image = _smooth_image(20)
    out = resample_crop(image, 1.0, 0.5, 30)
    centres = 9.5 + (np.arange(30) - 14.5) * 0.5
    grid = np.meshgrid(centres, centres, indexing="ij")
    for channel in range(2):
        np.testing.assert_allclose(out[channel], map_coordinates(image[channel], grid, order=1), rtol=1e-5)


def test_shrinking_agrees_with_scikit_image_within_its_filter():
    image = _smooth_image(64)
    out = resample_crop(image, 0.5, 1.0, 32)
    reference = np.stack([resize(channel, (32, 32), order=1, anti_aliasing=True) for channel in image])
    inner = (slice(None), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(out[inner], reference[inner], rtol=5e-3)


def test_shrinking_does_not_alias_a_checkerboard():
    image = (np.indices((64, 64)).sum(0) % 2 * 1000).astype(np.float32)[None]
    out = resample_crop(image, 0.5, 1.5, 20)
    assert np.abs(out[0, 2:-2, 2:-2] - 500).max() < 100


@pytest.mark.parametrize("size_um", [0, -1, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none_is_refused(size_um):
    with pytest.raises(SettingError, match="pixel_size_um"):
        resample_crop(_smooth_image(8), size_um, 1.0, 8)
