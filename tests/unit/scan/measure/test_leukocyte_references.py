"""Thresholds from a cartridge's leukocytes: the rates they promise, and what they say where there are few."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.labels import LabelSchema, load_schema
from ctcnet.panel import load_panel
from ctcnet.scan.measure.event_columns import leukocyte_classes
from ctcnet.scan.measure.marker_calls import any_positive, is_positive
from ctcnet.scan.measure.references import leukocyte_reference, reference_columns

pytestmark = pytest.mark.unit

LABELS = load_schema("five_class")
PANEL = load_panel("ctc5")
NOISE = 3.0


def leukocytes(count, seed=0, ck=24.0, ck_sd=0.43, cd45=300.0, neutrophils=0.6, panel=PANEL):
    rng = np.random.default_rng(seed)
    columns = {
        "label": np.full(count, "leukocyte", object),
        "unassigned": np.zeros(count, bool),
        "kind": np.full(count, "cell", object),
        "saturated": np.zeros(count, bool),
    }
    granular = rng.random(count) < neutrophils
    levels = {
        "DAPI": np.full(count, 900.0),
        "CK": ck * np.exp(ck_sd * rng.standard_normal(count)),
        "CD45": cd45 * np.exp(0.36 * rng.standard_normal(count)),
        "CD66b": np.where(granular, 200.0, 4.0) * np.exp(0.3 * rng.standard_normal(count)),
        "CD61": 10 * np.exp(0.3 * rng.standard_normal(count)),
    }
    for marker in panel.markers:
        level = levels.get(marker, levels["CK"]).astype(np.float32)
        columns |= {f"mean_{marker}": level, f"snr_{marker}": level / NOISE, f"max_{marker}": 1.5 * level}
        columns[f"positive_area_um2_{marker}"] = np.full(count, 10, np.float32)
    return columns


@pytest.mark.parametrize("rate", [1e-2, 1e-3])
@pytest.mark.parametrize("sd", [0.2, 0.43])
def test_share_above_is_the_rate_promised(rate, sd):
    columns = leukocytes(60_000, ck_sd=sd)
    entry = leukocyte_reference(columns, PANEL, LABELS, false_positive_rate=rate).markers["CK"]
    assert entry.source == "leukocytes"
    assert entry.implied_rate == pytest.approx(rate)
    assert entry.observed_rate == pytest.approx(rate, rel=0.6)
    assert (
        entry.observed == is_positive(columns, leukocyte_reference(columns, PANEL, LABELS), "CK").sum() or rate != 1e-3
    )
    assert entry.median == pytest.approx(24, rel=0.02)


@pytest.mark.parametrize("panel", ["ctc5", "cellsearch4", "sarcoma"])
def test_the_columns_named_are_all_that_is_read(panel):
    panel = load_panel(panel)
    columns = leukocytes(300, panel=panel) | {"at_edge": np.arange(300) % 9 == 0, "parent": np.arange(300) % 7 - 6}
    named = {name: columns[name] for name in reference_columns(panel)}
    of_named, of_all = (leukocyte_reference(given, panel, LABELS) for given in (named, columns))
    assert of_named.to_dict() == of_all.to_dict()
    assert of_named.notes == of_all.notes


def test_leukocyte_marker_has_a_lower_threshold():
    columns = leukocytes(20_000)
    reference = leukocyte_reference(columns, PANEL, LABELS)
    entry = reference.markers["CD45"]
    assert entry.threshold < entry.median / 2
    assert entry.observed_rate == pytest.approx(0.01, rel=0.5)
    assert 1 - is_positive(columns, reference, "CD45").mean() == pytest.approx(entry.observed_rate)
    assert reference.notes == ()


def test_tumour_cells_and_doubtful_rows_do_not_move_the_thresholds():
    columns = leukocytes(2000)
    base = leukocyte_reference(columns, PANEL, LABELS)
    odd = leukocytes(1500, seed=1, ck=4000)
    third = np.arange(1500) % 5
    odd["label"] = np.where(third == 0, "ctc", "leukocyte").astype(object)
    odd["unassigned"] = third == 1
    odd["kind"] = np.where(third == 2, "cluster", "cell").astype(object)
    odd["saturated"] = third == 3
    odd["at_edge"], columns["at_edge"] = third == 4, np.zeros(2000, bool)
    joined = {name: np.concatenate([columns[name], odd[name]]) for name in columns}
    assert leukocyte_reference(joined, PANEL, LABELS).markers["CK"] == base.markers["CK"]
    assert leukocyte_reference(joined, PANEL, LABELS).leukocytes == 2000


@pytest.mark.parametrize(("single", "used"), [(2000, 2000), (50, 50), (49, 549)])
def test_members_of_clusters_count_only_where_too_few_leukocytes_are_single(single, used):
    columns, members = leukocytes(single), leukocytes(500, seed=1, ck=400)
    columns["parent"], members["parent"] = np.full(single, -1), np.full(500, 7)
    joined = {name: np.concatenate([columns[name], members[name]]) for name in columns}
    reference = leukocyte_reference(joined, PANEL, LABELS)
    assert reference.leukocytes == used
    if used == single:
        assert reference.markers["CK"] == leukocyte_reference(columns, PANEL, LABELS).markers["CK"]


def test_a_few_tumour_cells_called_leukocytes_are_noted_and_matter_little():
    columns, odd = leukocytes(2000), leukocytes(30, seed=1, ck=4000)
    joined = {name: np.concatenate([columns[name], odd[name]]) for name in columns}
    entry = leukocyte_reference(joined, PANEL, LABELS).markers["CK"]
    assert entry.threshold < 1.4 * leukocyte_reference(columns, PANEL, LABELS).markers["CK"].threshold
    notes = leukocyte_reference(joined, PANEL, LABELS).notes
    assert [note.flag for note in notes] == ["leukocytes_above_threshold"]
    assert "of 2030 leukocytes" in notes[0].message


def test_dim_leukocytes_are_noted():
    columns = leukocytes(2000)
    columns["mean_CD45"][:200] = 2
    notes = leukocyte_reference(columns, PANEL, LABELS).notes
    assert [note.flag for note in notes] == ["leukocytes_below_threshold"]


@pytest.mark.parametrize("count", [0, 1, 49])
def test_few_leukocytes_leave_the_noise(count):
    columns = leukocytes(max(count, 1))
    if count == 0:
        columns["label"][:] = "debris"
    reference = leukocyte_reference(columns, PANEL, LABELS)
    assert [note.flag for note in reference.notes] == ["few_leukocytes"]
    for entry in reference.markers.values():
        multiple = 8 if entry.role == "platelet" else 5
        assert entry.source == "noise"
        assert entry.threshold == pytest.approx(multiple * NOISE, rel=1e-5)
        assert np.isnan(entry.implied_rate)


def test_no_event_at_all():
    columns = {name: values[:0] for name, values in leukocytes(1).items()}
    reference = leukocyte_reference(columns, PANEL, LABELS)
    assert reference.leukocytes == 0
    assert all(entry.threshold == 0 for entry in reference.markers.values())
    assert json.loads(json.dumps(reference.to_dict(), allow_nan=False))["markers"]["CK"]["implied_rate"] is None


def test_stainless_leukocytes_leave_three_times_the_noise():
    columns = leukocytes(1000, ck=0.05)
    entry = leukocyte_reference(columns, PANEL, LABELS).markers["CK"]
    assert entry.threshold == pytest.approx(3 * NOISE, rel=1e-5)
    assert entry.implied_rate < 1e-3


def test_neutrophils_are_told_from_other_leukocytes():
    columns = leukocytes(3000)
    reference = leukocyte_reference(columns, PANEL, LABELS)
    assert reference.markers["CD66b"].source == "two_populations"
    assert 8 < reference.markers["CD66b"].threshold < 120
    share = any_positive(columns, reference, PANEL, "neutrophil")
    assert share is not None
    assert share.mean() == pytest.approx(0.6, abs=0.03)
    one = leukocyte_reference(leukocytes(3000, neutrophils=0.0), PANEL, LABELS).markers["CD66b"]
    assert one.source == "noise"


def test_platelets_need_area_and_height():
    columns = leukocytes(1000)
    reference = leukocyte_reference(columns, PANEL, LABELS)
    columns["max_CD61"][:2] = 500
    columns["positive_area_um2_CD61"][1] = 0.5
    np.testing.assert_array_equal(is_positive(columns, reference, "CD61")[:3], [True, False, False])


def test_roles_without_a_channel_are_none():
    columns = leukocytes(100)
    assert any_positive(columns, leukocyte_reference(columns, PANEL, LABELS), PANEL, "mesenchymal") is None


def test_classes_below_leukocyte_are_leukocytes():
    labels = LabelSchema(
        "deep", ("ctc", "monocyte", "neutrophil"), {"neutrophil": "granulocyte", "granulocyte": "leukocyte"}
    )
    assert leukocyte_classes(labels) == ("neutrophil",)
    assert leukocyte_classes(LABELS) == ("leukocyte",)


@settings(max_examples=20)
@given(gain=st.floats(0.1, 50), seed=st.integers(0, 100))
def test_thresholds_follow_the_gain(gain, seed):
    columns = leukocytes(300, seed=seed)
    scaled = {k: v * gain if k.startswith(("mean", "max")) else v for k, v in columns.items()}
    base, other = (leukocyte_reference(c, PANEL, LABELS) for c in (columns, scaled))
    for marker, entry in base.markers.items():
        assert other.markers[marker].threshold == pytest.approx(gain * entry.threshold, rel=1e-3)
        assert other.markers[marker].observed == entry.observed
