import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.errors import StatisticsError
from ctcnet.uncertainty import Atypicality, TypicalFeatures, fit_atypicality
from ctcnet.uncertainty.crop_statistics import CONTRAST
from ctcnet.uncertainty.cross_fit import cross_fit_atypicality, least_points, upper_limit

pytestmark = pytest.mark.unit


def _typical(groups: int, rng: np.random.Generator, spread: float = 0.0) -> tuple[TypicalFeatures, np.ndarray]:
    """30 crops of each group in three classes, whose groups differ by `spread`; with their groups."""
    group = np.repeat(np.arange(groups), 30)
    shift = spread * rng.normal(size=(groups, 60))[group]
    labels = np.arange(len(group)) % 3
    embedding = rng.normal(size=(len(group), 40)) + 6 * np.eye(40)[labels] + shift[:, :40]
    statistics = rng.normal(size=(len(group), 21)) + shift[:, 39:]
    statistics[:, CONTRAST] = 50.0
    return TypicalFeatures(embedding, statistics, np.zeros((len(group), 3))), group


def _share_above(score: Atypicality, features: TypicalFeatures) -> float:
    with torch.inference_mode():
        found = score.score(*(torch.from_numpy(part).float() for part in (features.embedding, features.statistics)))
    return float((found > 1).float().mean())


@settings(max_examples=60)
@given(st.integers(1, 300), st.floats(0.005, 0.6), st.integers(0, 10_000))
def test_limit_is_the_rank_of_the_definition(count, share, seed):
    values = np.random.default_rng(seed).normal(size=count)
    if count < least_points(share):
        with pytest.raises(StatisticsError, match="too few points"):
            upper_limit(values, share)
        return
    limit = upper_limit(values, share)
    # a further value, as likely at any place among these, is above the limit this often
    assert ((values > limit).sum() + 1) / (count + 1) <= share + 1e-6
    assert ((values > limit).sum() + 2) / (count + 1) > share - 1e-6


def test_new_crops_are_atypical_no_more_often_than_stated_where_a_fit_to_all_says_nothing():
    rng = np.random.default_rng(0)
    found, naive = [], []
    for _ in range(8):
        features, group = _typical(8, rng)
        labels, new = np.arange(len(group)) % 3, _typical(40, rng)[0]
        found.append(_share_above(cross_fit_atypicality(features, labels, group % 4, 0.05), new))
        naive.append(_share_above(fit_atypicality(features.embedding, features.statistics, labels, 0.95), new))
    assert 0.02 < np.mean(found) <= 0.055
    assert np.mean(naive) > 0.1


def test_folds_over_groups_hold_for_groups_that_differ():
    rng = np.random.default_rng(1)
    by_group, by_crop = [], []
    for _ in range(8):
        features, group = _typical(10, rng, spread=0.7)
        labels, new = np.arange(len(group)) % 3, _typical(40, rng, spread=0.7)[0]
        by_group.append(_share_above(cross_fit_atypicality(features, labels, group % 5, 0.05), new))
        by_crop.append(_share_above(cross_fit_atypicality(features, labels, np.arange(len(group)) % 5, 0.05), new))
    assert np.mean(by_group) <= 0.06
    assert np.mean(by_crop) > 2 * np.mean(by_group)


def test_far_crops_are_atypical_and_equal_crops_give_equal_scores():
    features, group = _typical(8, np.random.default_rng(2))
    labels = np.arange(len(group)) % 3
    score = cross_fit_atypicality(features, labels, group % 4, 0.01)
    assert _share_above(score, features._replace(embedding=1000 * features.embedding)) > 0.9
    assert _share_above(score, features._replace(statistics=features.statistics + 8 * np.eye(21)[4])) > 0.9
    again = cross_fit_atypicality(features, labels, group % 4, 0.01).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in score.state_dict().items())


def test_too_few_crops_are_refused():
    features, group = _typical(3, np.random.default_rng(3))
    with pytest.raises(StatisticsError, match=r"too few points for the share 0\.01"):
        cross_fit_atypicality(features, np.zeros(90, int), group, 0.01)
    with pytest.raises(StatisticsError, match="no class has two points"):
        cross_fit_atypicality(features, np.arange(90), group, 0.05)
