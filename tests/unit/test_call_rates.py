"""Rates on a model's card: they survive JSON, stand on the page, and are refused where they contradict themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ctcnet.call_rates import CallRate, CallRates, rates_from_dict
from ctcnet.errors import ModelFileError
from ctcnet.model_card import ModelCard
from ctcnet.model_card_reading import card_from_dict

pytestmark = pytest.mark.unit

CTC, CLUSTER = CallRate(80, 100, (0.7, 0.9)), CallRate(10, 20, (0.27, 0.73))
RATES = CallRates(
    CallRate(90, 120, (0.66, 0.83)),
    {"ctc": CTC, "ctc_neutrophil_cluster": CLUSTER},
    {"leukocyte": CallRate(3, 5000, (0.0001, 0.0018)), "debris": CallRate(0, 300, (0.0, 0.0123))},
    False,
    "cartridge",
    12,
    "ab" * 32,
    "cd" * 32,
    "0.1.0",
)


def test_rates_survive_json_on_a_card(two_channel_card: ModelCard) -> None:
    card = replace(two_channel_card, rates=RATES)
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert "rates" not in two_channel_card.to_dict()


def test_page_gives_numbers_intervals_and_origin(two_channel_card: ModelCard) -> None:
    page = replace(two_channel_card, rates=RATES).to_markdown()
    assert "## Sensitivity and false calls (real cells)" in page
    assert "| contains a CTC | 90 | 120 | 0.75 (0.66 to 0.83) |" in page
    assert "| leukocyte | 3 | 5000 | 0.0006 (0.0001 to 0.0018) |" in page
    assert "12 groups, data sha256 " + "ab" * 8 in page
    simulated = replace(two_channel_card, rates=replace(RATES, simulated=True)).to_markdown()
    assert "(simulated cells)" in simulated


@pytest.mark.parametrize(
    "changed",
    [
        {"sensitivity": {"called": 91, "events": 120, "interval": [0.66, 0.83]}},
        {"sensitivity": {"called": 90, "events": 120, "interval": [0.8, 0.83]}},
        {"sensitivity": {"called": 90.0, "events": 120, "interval": [0.66, 0.83]}},
        {"sensitivity": 0.75},
        {"false_calls": {}},
        {"false_calls": {"leukocyte": {"called": 3, "events": 2, "interval": [0, 1]}}},
        {"simulated": None},
        {"levels": "guessed"},
        {"groups": 0},
        {"decision": "called a class that contains a CTC"},
        {"interval_level": 0.9},
        {"data_sha256": None},
        {"unknown": 1},
    ],
)
def test_rates_that_contradict_themselves_are_refused(two_channel_card: ModelCard, changed: dict[str, Any]) -> None:
    content = {**two_channel_card.to_dict(), "rates": {**RATES.to_dict(), **changed}}
    with pytest.raises(ModelFileError, match="malformed"):
        card_from_dict(content, "card.json")


@pytest.mark.parametrize(
    "rates",
    [
        replace(RATES, false_calls={"leukocyte": RATES.false_calls["leukocyte"]}),
        replace(RATES, false_calls={**RATES.false_calls, "ctc_platelet_cluster": CLUSTER}),
        replace(RATES, true_calls={"ctc": CTC, "leukocyte": CLUSTER}),
    ],
)
def test_rates_must_be_of_the_classes_of_the_model(two_channel_card: ModelCard, rates: CallRates) -> None:
    with pytest.raises(ModelFileError, match="contradicts itself"):
        card_from_dict(replace(two_channel_card, rates=rates).to_dict())


def test_class_that_is_never_called_by_the_panel_needs_no_rate(two_channel_card: ModelCard) -> None:
    rates = replace(RATES, false_calls={"leukocyte": RATES.false_calls["leukocyte"]})
    card = replace(two_channel_card, folded={"debris": "leukocyte"}, rates=rates)
    assert card_from_dict(card.to_dict()) == card


def test_plain_data_are_read_back() -> None:
    assert rates_from_dict(json.loads(json.dumps(RATES.to_dict()))) == RATES


def test_a_sensitivity_of_none_is_no_sensitivity() -> None:
    none = CallRate(0, 120, (0.0, 0.03))
    with pytest.raises(ValueError, match="sensitivity of 0"):
        replace(RATES, sensitivity=none, true_calls={"ctc": none})
