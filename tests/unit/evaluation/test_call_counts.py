import numpy as np
import pytest
from scipy.stats import binomtest
from scored_factory import FIVE, make_scored

from ctcnet.evaluation.call_counts import call_counts, call_lines
from ctcnet.evaluation.scored_crops import ScoredCrops

pytestmark = pytest.mark.unit


def test_calls_are_assigned_and_of_a_class_with_a_ctc():
    scored = make_scored(900, seed=4, signal=2.0)
    counts = call_counts(scored)
    inside = np.isin(np.array(FIVE.classes)[scored.called], FIVE.rollups["contains_ctc"])
    calls = inside & ~scored.unassigned
    assert (inside & scored.unassigned).sum() > 0  # the two decisions differ here
    for index, name in enumerate(FIVE.classes):
        side = "true_calls" if name in FIVE.rollups["contains_ctc"] else "false_calls"
        rate, of_class = counts[side][name], scored.truth == index
        assert (rate["called"], rate["events"]) == (calls[of_class].sum(), of_class.sum())
        exact = binomtest(rate["called"], rate["events"]).proportion_ci(0.95, "exact")
        assert rate["interval"] == pytest.approx([exact.low, exact.high])
    parts = counts["true_calls"].values()
    assert counts["sensitivity"]["called"] == sum(part["called"] for part in parts)
    assert counts["sensitivity"]["events"] == sum(part["events"] for part in parts)


def test_readers_decide_on_which_side_a_crop_is():
    targets = np.array([[0.4, 0.45, 0.15, 0, 0], [0.45, 0.3, 0, 0, 0.25]])  # with a CTC; without
    names = np.full(2, "", object)
    p = np.tile([0.9, 0.025, 0.025, 0.025, 0.025], (2, 1))
    scored = ScoredCrops(FIVE, p, targets, np.zeros(2, bool), names, names, names, names)
    counts = call_counts(scored)
    assert {name: rate["events"] for name, rate in counts["true_calls"].items()} == {"ctc": 1}
    assert {name: rate["called"] for name, rate in counts["false_calls"].items()} == {"leukocyte": 1}


def test_set_without_positives_has_no_sensitivity():
    scored = make_scored(300)
    counts = call_counts(scored.subset(~scored.rollup("contains_ctc")[1]))
    assert counts["sensitivity"] is None
    assert counts["true_calls"] == {}
    assert len(call_lines(counts)) == 2


def test_lines_say_per_what_a_rate_is():
    rate = {"called": 2, "events": 4000, "interval": [0.00006, 0.0018]}
    counts = {"sensitivity": {"called": 8, "events": 10, "interval": [0.44, 0.97]}, "false_calls": {"leukocyte": rate}}
    sensitivity, false_calls = call_lines(counts)
    assert sensitivity == "sensitivity: 8 of 10 events with a CTC, 0.800 (0.440 to 0.970)"
    assert false_calls == "false calls: 2 of 4,000 events of leukocyte, 500 (60 to 1,800) per million of them"
