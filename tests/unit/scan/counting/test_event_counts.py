"""Counts of a cartridge from its table of events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ctcnet.call_rates import CallRate, CallRates
from ctcnet.errors import SettingError
from ctcnet.labels import LabelSchema, load_schema
from ctcnet.panel import Channel, Panel
from ctcnet.scan.counting.corrected import Correction, FalseCalls, corrected_interval
from ctcnet.scan.counting.counts import CountSettings, columns_to_count, count_events
from ctcnet.scan.counting.estimates import LARGEST_BLOOD_ML, LEAST_BLOOD_ML, UNCORRECTED, CountBasis, estimate
from ctcnet.scan.counting.poisson import poisson_interval, probability_at_least
from ctcnet.scan.pipeline.settings import ScanSettings

pytestmark = pytest.mark.unit

SCHEMA = load_schema("five_class")
FOUND = CallRate(90, 100, (0.82, 0.95))
RATES = CallRates(
    FOUND,
    {"ctc": FOUND},
    {"leukocyte": CallRate(1, 4000, (0, 0.0014)), "debris": CallRate(9, 300, (0.013, 0.057))},
    True,
    "cartridge",
    10,
    "ab",
    "cd",
    "0.1.0",
)
PANEL = Panel(
    "p",
    (
        Channel("DAPI", "nucleus"),
        Channel("CK", "epithelial"),
        Channel("CD66b", "neutrophil"),
        Channel("CD61", "platelet"),
        Channel("PD-L1", "target"),
    ),
    12,
)

ROWS: list[tuple[Any, ...]] = [
    # counted, label, unassigned, review, p_contains_ctc, phenotype, partners, tumour_nuclei, positive_PD-L1
    (True, "ctc", False, False, 0.99, "epithelial", "", 1, True),
    (True, "ctc", False, True, 0.80, "hybrid", "", 1, False),
    (True, "ctc", False, False, 0.97, "hybrid", "", 3, None),
    (True, "ctc_neutrophil_cluster", False, False, 0.95, "epithelial", "neutrophil+platelet", 1, True),
    (True, "ctc_platelet_cluster", True, False, 0.60, "", "platelet", 1, None),
    (False, "ctc", False, False, 0.99, "epithelial", "", 1, True),
    (True, "leukocyte", False, False, 0.01, "", "", 0, False),
    (True, "leukocyte", False, False, 0.30, "", "", 0, False),
    (True, "leukocyte", False, True, 0.02, "", "", 0, False),
    (True, "leukocyte", True, False, 0.02, "", "", 0, False),
    (True, "debris", True, False, 0.05, "", "", 0, False),
]


def columns(rows: list[tuple[Any, ...]] = ROWS) -> dict[str, np.ndarray]:
    names = columns_to_count(PANEL)
    return {name: np.array([row[index] for row in rows], dtype=object) for index, name in enumerate(names)}


def test_only_counted_and_assigned_rows_are_counted_in_their_class() -> None:
    counts = count_events(columns(), SCHEMA, PANEL, CountSettings())
    numbers = {name: entry["count"] for name, entry in counts["classes"].items()}
    assert numbers == {
        "ctc": 3, "leukocyte": 3, "ctc_neutrophil_cluster": 1, "ctc_platelet_cluster": 0, "debris": 0,
    }  # fmt: skip
    assert counts["contains_ctc"]["count"] == 4
    assert (counts["events"], counts["events_not_counted"]) == (10, 1)
    assert (counts["unassigned"], counts["for_review"]) == (3, 2)


def test_every_count_has_its_interval_and_probabilities() -> None:
    total = count_events(columns(), SCHEMA, PANEL, CountSettings())["contains_ctc"]
    assert total["interval"] == list(poisson_interval(4))
    assert total["p_at_least"] == {"3": probability_at_least(4, 3), "5": probability_at_least(4, 5)}
    assert total["corrected"] == UNCORRECTED
    assert total["per_7_5_ml"] is None


def test_doubt_says_what_unassigned_and_reviewed_events_would_do() -> None:
    doubt = count_events(columns(), SCHEMA, PANEL, CountSettings())["doubt"]
    assert (doubt["called_for_review"], doubt["not_called_in_reach"], doubt["of_these_unassigned"]) == (1, 3, 2)
    assert doubt["if_none_is_a_ctc"]["count"] == 3
    assert doubt["if_all_are_ctcs"]["count"] == 7
    assert doubt["if_all_are_ctcs"]["interval"] == list(poisson_interval(7))


def test_composition_of_the_events_that_contain_a_ctc() -> None:
    counts = count_events(columns(), SCHEMA, PANEL, CountSettings())
    phenotypes = {name: entry["count"] for name, entry in counts["phenotypes"].items()}
    assert phenotypes == {"epithelial": 2, "hybrid": 2, "mesenchymal": 0, "negative": 0}
    target = counts["targets"]["PD-L1"]
    assert (target["positive"], target["of"]) == (2, 3)
    kinds = {name: entry["count"] for name, entry in counts["clusters"].items() if "count" in entry}
    assert kinds == {"homotypic": 1, "neutrophil": 1, "other_leukocyte": 0, "platelet": 1}


def test_contacts_stand_beside_the_clusters() -> None:
    contacts = {"neutrophil": {"observed": 3, "expected": 0.4}, "leukocyte": {"observed": 5, "expected": 4.1}}
    clusters = count_events(columns(), SCHEMA, PANEL, CountSettings(contacts=contacts))["clusters"]
    assert clusters["neutrophil"]["contacts"] == {"observed": 3, "expected": 0.4}
    assert clusters["platelet"]["contacts"] is None
    assert clusters["contacts"] == {"leukocyte": {"observed": 5, "expected": 4.1}}


def test_partners_that_no_channel_shows_have_no_count() -> None:
    panel = Panel("p", tuple(c for c in PANEL.channels if c.role not in ("neutrophil", "platelet")), 12)
    settings = CountSettings(contacts={"leukocyte": {"observed": 2}})
    clusters = count_events(columns(), SCHEMA, panel, settings)["clusters"]
    assert clusters["neutrophil"] is clusters["platelet"] is None
    assert clusters["homotypic"]["count"] == 1
    assert clusters["other_leukocyte"]["count"] == 0
    assert clusters["contacts"] == {"leukocyte": {"observed": 2}}


def test_volume_and_missing_area_scale_the_count_and_the_cut_off() -> None:
    settings = CountSettings(CountBasis(blood_volume_ml=3.75), counted_area_mm2=80, missing_area_mm2=20)
    counts = count_events(columns(), SCHEMA, PANEL, settings)
    total = counts["contains_ctc"]
    assert counts["counted_share"] == pytest.approx(0.8)
    assert total["per_7_5_ml"]["value"] == pytest.approx(4 * 2 / 0.8)
    assert total["per_7_5_ml"]["interval"] == pytest.approx([bound * 2.5 for bound in poisson_interval(4)])
    assert total["p_at_least"]["5"] == pytest.approx(probability_at_least(4, 5 / 2.5))
    assert counts["cut_offs_per"] == "7.5 mL"
    assert any("20.0 %" in note for note in counts["notes"])


def test_unknown_volume_is_said() -> None:
    counts = count_events(columns(), SCHEMA, PANEL, CountSettings(notes=("first",)))
    assert counts["cut_offs_per"] == "cartridge as counted"
    assert counts["notes"][0] == "first"
    assert any("blood volume is not known" in note for note in counts["notes"])
    assert any("uncorrected" in note for note in counts["notes"])


def test_correction_is_of_the_roll_up_alone() -> None:
    counts = count_events(columns(), SCHEMA, PANEL, CountSettings(CountBasis(7.5), rates=RATES))
    correction = Correction(90, 100, (FalseCalls(1, 4000, 4), FalseCalls(9, 300, 1)))  # unassigned ones too
    assert counts["contains_ctc"]["corrected"]["interval"] == list(corrected_interval(4, correction))
    assert counts["contains_ctc"]["corrected"]["per_7_5_ml_interval"] == list(corrected_interval(4, correction))
    assert set(counts["contains_ctc"]["corrected"]["p_at_least"]) == {"3", "5"}
    assert {entry["corrected"] for entry in counts["classes"].values()} == {UNCORRECTED}
    assert not any("uncorrected" in note for note in counts["notes"])
    assert any("simulated cells" in note for note in counts["notes"])
    record = counts["correction"]
    assert record["applied"]
    assert record["events_counted"] == {"leukocyte": 4, "debris": 1}
    assert record["false_calls_expected"] == pytest.approx(4 * 1.5 / 4000 + 9.5 / 300)
    assert record["rates"] == RATES.to_dict()


def test_rates_that_do_not_fit_leave_the_count_uncorrected_and_say_why() -> None:
    settings = CountSettings(rates=RATES, rates_unfit="they are of other levels")
    counts = count_events(columns(), SCHEMA, PANEL, settings)
    assert counts["contains_ctc"]["corrected"] == UNCORRECTED
    assert (counts["correction"]["applied"], counts["correction"]["reason"]) == (False, "they are of other levels")
    assert "Counts are uncorrected: they are of other levels." in counts["notes"]
    assert count_events(columns(), SCHEMA, PANEL, CountSettings())["correction"] is None


@pytest.mark.parametrize(("debris", "said"), [(30, False), (3000, True)])
def test_fewer_calls_than_false_ones_alone_are_said_to_contradict_the_rates(debris: int, said: bool) -> None:
    counts = count_events(columns(ROWS[-1:] * debris), SCHEMA, PANEL, CountSettings(rates=RATES))
    assert any("do not hold for this cartridge" in note for note in counts["notes"]) == said


def test_cartridge_without_events() -> None:
    counts = count_events(columns([]), SCHEMA, PANEL, CountSettings())
    assert counts["contains_ctc"]["count"] == 0
    assert counts["contains_ctc"]["interval"] == [0, pytest.approx(3.69, abs=0.005)]
    assert {name: entry["count"] for name, entry in counts["phenotypes"].items()} == {
        "epithelial": 0, "hybrid": 0, "mesenchymal": 0, "negative": 0,
    }  # fmt: skip
    assert counts["targets"]["PD-L1"]["share"] is None


def test_panel_that_cannot_tell_phenotypes_gives_none() -> None:
    panel = Panel("p", (Channel("DAPI", "nucleus"), Channel("CD45", "leukocyte"), Channel("PD-L1", "target")), 12)
    assert count_events(columns(), SCHEMA, panel, CountSettings())["phenotypes"] is None


def test_cartridge_of_which_nothing_was_counted_is_no_clean_negative() -> None:
    settings = CountSettings(CountBasis(7.5), missing_area_mm2=100, rates=RATES)
    counts = count_events(columns([]), SCHEMA, PANEL, settings)
    total = counts["contains_ctc"]
    assert (total["count"], counts["counted_share"]) == (0, 0)
    assert total["per_7_5_ml"] is None
    assert total["corrected"] == UNCORRECTED
    assert counts["correction"]["reason"] == "nothing was counted"
    assert total["p_at_least"] == {"3": None, "5": None}
    assert any("nothing is known of its events" in note for note in counts["notes"])
    unknown = count_events(columns([]), SCHEMA, PANEL, CountSettings(missing_area_mm2=100))
    assert unknown["contains_ctc"]["p_at_least"] == {"3": None, "5": None}


def test_schema_without_the_roll_up_says_nothing_of_ctcs() -> None:
    schema = LabelSchema("two", ("leukocyte", "debris"))
    counts = count_events(columns(), schema, PANEL, CountSettings())
    assert counts["classes"]["leukocyte"]["count"] == 3
    for name in ("contains_ctc", "doubt", "phenotypes", "targets", "clusters"):
        assert counts[name] is None


@pytest.mark.parametrize(
    "basis", [{"blood_volume_ml": 0}, {"blood_volume_ml": -7.5}, {"counted_share": -0.1}, {"cut_offs": (-3,)}]
)
def test_impossible_basis_is_refused(basis: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        CountBasis(**basis)


def test_any_volume_that_a_scan_takes_is_a_basis() -> None:
    for volume_ml in (LEAST_BLOOD_ML, LARGEST_BLOOD_ML):
        settings = ScanSettings("ab", "cpu", 1, volume_ml)
        assert CountBasis(settings.blood_volume_ml).per_standard_volume == pytest.approx(7.5 / volume_ml)


def test_estimate_of_a_class_is_never_corrected_by_default() -> None:
    assert estimate(3, CountBasis(correction=Correction(9, 10, ())))["corrected"] == UNCORRECTED


def test_a_class_that_is_not_told_is_not_counted_as_none() -> None:
    counts = count_events(columns(), SCHEMA, PANEL, CountSettings(folded={"ctc_platelet_cluster": "ctc"}))
    assert "ctc_platelet_cluster" not in counts["classes"]
    assert counts["not_told"] == {"ctc_platelet_cluster": "ctc"}
    assert any("ctc_platelet_cluster" in note and "counted as ctc" in note for note in counts["notes"])
    assert count_events(columns(), SCHEMA, PANEL, CountSettings())["not_told"] == {}


def test_of_a_part_of_unknown_share_nothing_is_stated_per_volume():
    """Five tiles of two thousand hold an unknown share of the blood: their count is no count of 7.5 mL."""
    whole, part = (estimate(3, CountBasis(7.5, partial=partial)) for partial in (False, True))
    assert whole["per_7_5_ml"]["value"] == 3
    assert part["per_7_5_ml"] is None
    assert part["p_at_least"] == {str(cut_off): probability_at_least(3, cut_off) for cut_off in (3, 5)}
    counts = count_events(columns(ROWS), SCHEMA, PANEL, CountSettings(CountBasis(7.5, partial=True)))
    assert counts["cut_offs_per"] == "cartridge as counted"
    assert any("unknown share of the blood" in note for note in counts["notes"])
