import json
from dataclasses import replace

import numpy as np
import pytest
from scored_factory import make_scored

from ctcnet.errors import StatisticsError
from ctcnet.evaluation.stated_rates import LEAST_NEGATIVES, LEAST_POSITIVES, rates_from_evaluation
from ctcnet.evaluation.summary import summarise
from ctcnet.model_card_reading import card_from_dict

pytestmark = pytest.mark.unit

SHA = "ef" * 32


@pytest.fixture(scope="module")
def metrics():
    """What `ctcnet evaluate` writes, as far as rates are made from it."""
    figures = summarise(make_scored(2000, seed=3), np.full(5, 0.2), resamples=0)
    return json.loads(json.dumps(figures)) | {
        "model": {"sha256": SHA},
        "data": {"simulated": None, "sha256": "ab" * 32},
        "prior": {"restated": False},
        "leave_out": None,
        "includes_seen_groups": False,
        "software_version": "0.1.0",
    }


@pytest.fixture
def rates_of(metrics, tmp_path, two_channel_card):
    def rates(cells="real", card=two_channel_card, **changed):
        (tmp_path / "metrics.json").write_text(json.dumps({**metrics, **changed}))
        return rates_from_evaluation(tmp_path, card, SHA, cells)

    return rates


def test_rates_are_those_of_the_evaluation_and_fit_the_card(rates_of, metrics, two_channel_card):
    rates = rates_of()
    counts = metrics["contains_ctc"]["as_counted"]
    assert rates.to_dict()["true_calls"]["ctc"]["called"] == counts["true_calls"]["ctc"]["called"]
    assert (rates.sensitivity.called, rates.sensitivity.events) == (
        counts["sensitivity"]["called"],
        counts["sensitivity"]["events"],
    )
    assert (rates.simulated, rates.levels, rates.groups) == (False, "cartridge", 12)
    assert (rates.data_sha256, rates.model_sha256) == ("ab" * 32, SHA)
    card = replace(two_channel_card, rates=rates)
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": {"sha256": "00" * 32}}, "of another model"),
        ({"includes_seen_groups": True}, "groups that the model saw"),
        ({"prior": {"restated": True}}, "another prior"),
        ({"leave_out": {"column": "batch"}}, "trained anew"),
        ({"levels": {"model": 2000}}, "other levels than a scan"),
        ({"levels": {"cartridge": 1999, "model": 1}}, "other levels than a scan"),
        ({"contains_ctc": {"positives": 3}}, "lacks what rates are stated from"),
        ({"data": {"simulated": None}}, "lacks what rates are stated from"),
        ({"groups": "12"}, "contradicts itself"),
    ],
)
def test_evaluation_that_a_scan_may_not_correct_by_is_refused(rates_of, changed, message):
    with pytest.raises(StatisticsError, match=message):
        rates_of(**changed)


def test_levels_wanted_are_those_of_a_scan_with_this_model(rates_of, two_channel_card):
    fixed = replace(two_channel_card, normalization=replace(two_channel_card.normalization, mode="fixed"))
    assert rates_of(card=fixed, levels={"model": 2000}).levels == "model"
    with pytest.raises(StatisticsError, match="other levels"):
        rates_of(card=fixed)


@pytest.mark.parametrize("folded", [False, True])
def test_too_few_events_of_a_class_are_refused_unless_the_panel_cannot_tell_it(
    rates_of, metrics, two_channel_card, folded
):
    counts = metrics["contains_ctc"]["as_counted"]
    few = {"called": 0, "events": LEAST_NEGATIVES - 1, "interval": [0, 0.013]}
    false_calls = {"leukocyte": counts["false_calls"]["leukocyte"]} | ({} if folded else {"debris": few})
    changed = {"contains_ctc": {"as_counted": {**counts, "false_calls": false_calls}}}
    card = replace(two_channel_card, folded={"debris": "leukocyte"} if folded else None)
    if folded:
        assert set(rates_of(card=card, **changed).false_calls) == {"leukocyte"}
        return
    with pytest.raises(StatisticsError, match="too few events of debris") as raised:
        rates_of(card=card, **changed)
    assert raised.value.found == str(LEAST_NEGATIVES - 1)


@pytest.mark.parametrize(
    ("called", "events", "message"),
    [(9, LEAST_POSITIVES - 1, "too few events with a CTC"), (0, LEAST_POSITIVES, "called none"), (9, 0, "too few")],
)
def test_sensitivity_of_too_few_events_or_of_none_is_refused(rates_of, metrics, called, events, message):
    total = {"called": called, "events": events, "interval": [0, 1]} if events else None
    counts = {**metrics["contains_ctc"]["as_counted"], "sensitivity": total}
    with pytest.raises(StatisticsError, match=message):
        rates_of(contains_ctc={"as_counted": counts})


def test_origin_of_the_cells_is_stated_by_the_data_or_by_the_user(rates_of):
    simulated = {"simulated": True, "sha256": "ab" * 32}
    assert rates_of(cells=None, data=simulated).simulated
    assert rates_of(cells="simulated").simulated
    with pytest.raises(StatisticsError, match="does not say whether its cells are real"):
        rates_of(cells=None)
    with pytest.raises(StatisticsError, match="says otherwise of its cells"):
        rates_of(cells="real", data=simulated)


@pytest.mark.parametrize("text", [None, "", "[1", "[1]", '"text"', "{}"])
def test_folder_without_an_evaluation_is_refused(tmp_path, two_channel_card, text):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(StatisticsError):
        rates_from_evaluation(tmp_path, two_channel_card, SHA, "real")
