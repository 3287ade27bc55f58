import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from ctcnet.errors import StatisticsError
from ctcnet.runtime.gaussian_distance import fit_covariance, fit_gaussian, gaussian_distance

pytestmark = pytest.mark.unit


def _two_classes(count: int = 4000, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    mixing = rng.normal(size=(width, width)) + 2 * np.eye(width)
    return rng.normal(size=(count, width)) @ mixing + 8.0 * labels[:, None], labels


def test_distance_is_scipys_where_one_direction_is_the_rest():
    features, labels = _two_classes()
    fit = fit_gaussian(features, labels, 5, 0.9)
    means = np.stack([features[labels == k].mean(axis=0) for k in (0, 1)])
    residual = features - means[labels]
    inverse = np.linalg.inv(residual.T @ residual / (len(features) - 2))
    points = np.random.default_rng(1).normal(size=(20, 6)) * 10
    expected = [min(mahalanobis(point, mean, inverse) for mean in means) for point in points]
    np.testing.assert_allclose(gaussian_distance(fit, points) * fit.limit, expected, rtol=2e-3)


def test_one_is_the_quantile_of_typical_points():
    features, labels = _two_classes()
    assert (gaussian_distance(fit_gaussian(features, labels, 3, 0.99), features) > 1).sum() == 40
    other, _ = _two_classes(seed=0)
    assert gaussian_distance(fit_gaussian(features, labels, 3, 0.99), other[:0]).shape == (0,)


def test_far_points_outside_the_leading_directions_are_seen():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(2000, 2)) * [10, 5], 0.1 * rng.normal(size=(2000, 20))], axis=1)
    fit = fit_gaussian(features, np.zeros(2000, int), 2, 0.998)
    aside = np.zeros((1, 22))
    aside[0, 20] = 2.0
    assert gaussian_distance(fit, aside)[0] > 2


def test_classes_of_one_point_lend_no_mean():
    features, labels = _two_classes(500)
    labels[0] = 7
    assert len(fit_gaussian(features, labels, 3, 0.9).means) == 2


def test_points_of_classes_of_their_own_are_refused():
    features = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(StatisticsError, match="no class has two points"):
        fit_covariance(features, np.arange(20), 2)
    with pytest.raises(StatisticsError, match="3 or more"):
        fit_covariance(features[:2], np.zeros(2, int), 2)


@pytest.mark.parametrize(("count", "value", "match"), [(100, 0.0, "500 or more"), (600, np.nan, "not finite")])
def test_points_that_say_too_little_are_refused(count, value, match):
    features = np.random.default_rng(0).normal(size=(count, 3)) + value
    with pytest.raises(StatisticsError, match=match):
        fit_gaussian(features, np.zeros(count, int), 2, 0.998)
