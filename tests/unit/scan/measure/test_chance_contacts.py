"""Contacts by chance: golden values of the field, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.errors import StatisticsError
from ctcnet.labels import load_schema
from ctcnet.panel import load_panel
from ctcnet.scan.measure.chance_contacts import contact_counts
from ctcnet.scan.measure.local_chance import contact_probability, expected_chance_contacts
from ctcnet.scan.measure.references import LeukocyteReference, MarkerReference

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("density", "percent"), [(1800, 43), (300, 9), (0, 0)])
def test_golden_values(density, percent):
    assert round(100 * contact_probability(density, 10)) == percent


def strewn(density_per_mm2, side_um, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, side_um, (rng.poisson(density_per_mm2 * side_um**2 / 1e6), 2))


def joined(tumour, others):
    points = np.concatenate([tumour, others])
    is_ctc = np.arange(len(points)) < len(tumour)
    return points[:, 0], points[:, 1], is_ctc, ~is_ctc


@pytest.mark.parametrize("density", [300, 1800])
def test_strewn_cells_touch_as_often_as_expected(density):
    side = 3000.0
    tumour = np.random.default_rng(1).uniform(0, side, (3000, 2))
    found = expected_chance_contacts(*joined(tumour, strewn(density, side, 2)), 10.0, bounds_um=(0.0, 0.0, side, side))
    assert found.expected / 3000 == pytest.approx(contact_probability(density, 10), rel=0.04)
    assert found.observed == pytest.approx(found.expected, abs=4 * np.sqrt(found.expected))
    assert found.observed == found.touching.sum()
    assert np.isnan(found.per_event[3000:]).all()


def test_local_density_counts_and_contacts_do_not_raise_it():
    """Half of the area dense, half sparse; and a neighbour added to every tumour cell."""
    side = 2000.0
    dense, sparse = strewn(2000, side, 3), strewn(100, side, 4) + np.array([side, 0])
    rng = np.random.default_rng(5)
    tumour = np.concatenate(
        [rng.uniform(150, side - 150, (300, 2)), rng.uniform(150, side - 150, (300, 2)) + np.array([side, 0])]
    )
    x, y, is_ctc, is_leukocyte = joined(tumour, np.concatenate([dense, sparse]))
    found = expected_chance_contacts(x, y, is_ctc, is_leukocyte, 10.0)
    assert found.per_event[:300].mean() == pytest.approx(contact_probability(2000, 10), rel=0.05)
    assert found.per_event[300:600].mean() == pytest.approx(contact_probability(100, 10), rel=0.15)
    attached = tumour + np.array([8.0, 0])
    more = expected_chance_contacts(*joined(tumour, np.concatenate([dense, sparse, attached])), 10.0)
    assert more.observed == 600
    assert more.expected == pytest.approx(found.expected, rel=0.12)  # by the neighbours of other tumour cells


@settings(max_examples=15)
@given(x=st.floats(0, 1000), y=st.floats(0, 1000))
def test_at_a_border_only_the_area_that_is_there_counts(x, y):
    """An even lattice has the same density everywhere, borders and corners included."""
    grid = np.arange(12.5, 1000, 25)
    lattice = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    found = expected_chance_contacts(*joined(np.array([[x, y]]), lattice), 10.0, bounds_um=(0.0, 0.0, 1000.0, 1000.0))
    inside = contact_probability(1600, 10)
    share = (min(x, 10) + min(1000 - x, 10)) / 20 * (min(y, 10) + min(1000 - y, 10)) / 20
    if share == 1:
        assert found.expected == pytest.approx(inside, rel=0.12)
    else:
        assert found.expected <= inside * 1.3


def test_nothing_to_count():
    none = np.zeros(0)
    assert expected_chance_contacts(none, none, none, none, 10.0)[:2] == (0, 0.0)
    one = np.array([5.0])
    assert expected_chance_contacts(one, one, [True], [False], 10.0)[:2] == (0, 0.0)
    assert expected_chance_contacts(one, one, [False], [True], 10.0)[:2] == (0, 0.0)


@pytest.mark.parametrize("distance", [0.0, -1.0, 50.0, float("nan")])
def test_impossible_distances(distance):
    points = np.array([0.0, 5.0])
    with pytest.raises(StatisticsError, match="contact distance"):
        expected_chance_contacts(points, points, [True, False], [False, True], distance)


def table(kinds, labels, x, nuclei, cd66b=None):
    count = len(kinds)
    return {
        "kind": np.array(kinds, object),
        "label": np.array(labels, object),
        "unassigned": np.zeros(count, bool),
        "tumour_nuclei": np.array(nuclei, np.int16),
        "x_um": np.array(x, float),
        "y_um": np.zeros(count),
        "diameter_um": np.full(count, 9.0, np.float32),
        "mean_CD66b": np.zeros(count) if cd66b is None else np.array(cd66b, float),
    }


def test_counts_of_a_cartridge():
    panel, labels = load_panel("ctc5"), load_schema("five_class")
    columns = table(
        ["cell", "cell", "cell", "cell", "cluster", "object"],
        ["ctc", "leukocyte", "ctc", "leukocyte", "ctc_neutrophil_cluster", "debris"],
        [0, 9.5, 300, 312, 4.7, 305],
        [1, 0, 1, 0, 1, 0],
        [0, 500, 0, 0, 250, 0],
    )
    found = contact_counts(columns, labels, panel, 2.0)
    assert set(found) == {"leukocyte"}
    assert found["leukocyte"]["observed"] == 1  # 9.5 um is less than 4.5 + 4.5 + 2, 12 um is more
    assert found["leukocyte"]["tumour_cells"] == 2
    entry = MarkerReference("CD66b", "neutrophil", "mean_CD66b", 90, 20.0, 0.4, 100.0, 0.0, 0, "two_populations")
    found = contact_counts(columns, labels, panel, 2.0, LeukocyteReference(90, {"CD66b": entry}))
    assert found["neutrophil"]["observed"] == 1
    assert found["other_leukocyte"]["observed"] == 0
    assert contact_counts(columns, load_schema("jurkat_phases"), panel, 2.0) == {}


def test_neutrophil_called_by_the_ctc_that_it_touches_is_counted_as_a_contact():
    kinds, labels = ["cell", "cell", "cell"], ["ctc_neutrophil_cluster", "ctc_neutrophil_cluster", "debris"]
    columns = table(kinds, labels, [0, 9.5, 300], [1, 0, 0], [0, 500, 0])
    entry = MarkerReference("CD66b", "neutrophil", "mean_CD66b", 90, 20.0, 0.4, 100.0, 0.0, 0, "two_populations")
    found = contact_counts(
        columns, load_schema("five_class"), load_panel("ctc5"), 2.0, LeukocyteReference(90, {"CD66b": entry})
    )
    assert {name: entry["observed"] for name, entry in found.items()} == {
        "leukocyte": 1, "neutrophil": 1, "other_leukocyte": 0,
    }  # fmt: skip


def test_empty_cartridge_with_a_neutrophil_panel():
    found = contact_counts(
        table([], [], [], []), load_schema("five_class"), load_panel("ctc5"), 2.0, LeukocyteReference(0, {})
    )
    assert set(found) == {"leukocyte", "neutrophil", "other_leukocyte"}
    assert all(entry["observed"] == entry["tumour_cells"] == 0 for entry in found.values())
