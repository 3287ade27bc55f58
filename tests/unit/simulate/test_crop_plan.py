"""Plans: counts add up, classes are spread over the groups, bad settings are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.errors import SettingError
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_plan import plan_crops

pytestmark = pytest.mark.unit


@settings(max_examples=30)
@given(count=st.integers(1, 3000), seed=st.integers(0, 9))
def test_classes_and_groups_are_even(count: int, seed: int) -> None:
    plan = plan_crops(count, seed)
    assert len(plan.labels) == len(plan.groups) == count
    assert np.ptp(np.bincount(plan.labels, minlength=len(CLASSES))) <= 1
    assert np.ptp(np.bincount(plan.groups, minlength=plan.num_groups)) <= 1
    table = np.zeros((plan.num_groups, len(CLASSES)), dtype=int)
    np.add.at(table, (plan.groups, plan.labels), 1)
    assert np.ptp(table, axis=0).max() <= 1


def test_fractions_are_kept_and_unnamed_classes_absent() -> None:
    plan = plan_crops(1000, 0, class_fractions={"leukocyte": 97, "debris": 3})
    assert np.bincount(plan.labels, minlength=5).tolist() == [0, 970, 0, 0, 30]


def test_seed_zero_is_a_seed() -> None:
    assert (plan_crops(200, 0).labels == plan_crops(200, 0).labels).all()
    assert (plan_crops(200, 0).labels != plan_crops(200, 1).labels).any()


@pytest.mark.parametrize(
    ("count", "seed", "groups", "fractions"),
    [(0, 0, None, None), (3, 0, 4, None), (10, -1, None, None), (9, 0, None, {"cell": 1}), (9, 0, None, {"ctc": 0})],
)
def test_bad_settings_are_refused(
    count: int, seed: int, groups: int | None, fractions: dict[str, float] | None
) -> None:
    with pytest.raises(SettingError):
        plan_crops(count, seed, groups, fractions)
