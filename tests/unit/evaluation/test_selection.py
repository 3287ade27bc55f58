from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctcnet.errors import StatisticsError
from ctcnet.evaluation.selection import select_rows
from ctcnet.model_card import hash_group

pytestmark = pytest.mark.unit
GROUP = np.array(["a", "a", "b", "c"], dtype=object)
SPLIT = np.array(["train", "train", "test", "test"], dtype=object)


def _card(*seen: str) -> Any:
    return SimpleNamespace(training_data=SimpleNamespace(group_hashes=tuple(map(hash_group, seen))))


def test_seen_groups_are_left_out_and_counted():
    found = select_rows(GROUP, SPLIT, _card("a", "z"), only_split="", include_seen=False)
    assert found.rows.tolist() == [2, 3]
    assert found.seen_groups_left_out == 1
    assert not found.includes_seen_groups


def test_seen_groups_kept_are_flagged():
    found = select_rows(GROUP, SPLIT, _card("a"), only_split="", include_seen=True)
    assert len(found.rows) == 4
    assert found.includes_seen_groups
    assert not select_rows(GROUP, SPLIT, _card("z"), only_split="", include_seen=True).includes_seen_groups


def test_split_is_chosen_first():
    found = select_rows(GROUP, SPLIT, _card("a", "b"), only_split="test", include_seen=False)
    assert found.rows.tolist() == [3]
    assert found.seen_groups_left_out == 1


def test_nothing_left_says_so():
    with pytest.raises(StatisticsError, match="every one of the 3 groups"):
        select_rows(GROUP, SPLIT, _card("a", "b", "c"), only_split="", include_seen=False)
    with pytest.raises(StatisticsError, match="'val'"):
        select_rows(GROUP, SPLIT, _card(), only_split="val", include_seen=False)
