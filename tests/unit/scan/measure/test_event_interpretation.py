"""What follows from measurements and calls: every reason is given, nothing that may hold a CTC is dropped."""

from __future__ import annotations

import numpy as np
import pytest

from ctcnet.labels import load_schema
from ctcnet.panel import Channel, Panel
from ctcnet.scan.measure.event_columns import joined
from ctcnet.scan.measure.interpretation import CLUSTER_REASON, SET_REASON, interpret
from ctcnet.scan.measure.references import LeukocyteReference, MarkerReference

pytestmark = pytest.mark.unit

LABELS = load_schema("five_class")
CHANNELS = {
    "DAPI": "nucleus",
    "CK": "epithelial",
    "vimentin": "mesenchymal",
    "CD45": "leukocyte",
    "PD-L1": "target",
    "CD66b": "neutrophil",
    "CD61": "platelet",
}
THRESHOLD = 100.0


def panel(*markers: str) -> Panel:
    return Panel("test", tuple(Channel(marker, CHANNELS[marker]) for marker in markers), 12)


FULL = panel(*CHANNELS)


def reference(of: Panel) -> LeukocyteReference:
    entries = {}
    for channel in of.channels:
        measure = f"{'max' if channel.role == 'platelet' else 'mean'}_{channel.marker}"
        entries[channel.marker] = MarkerReference(
            channel.marker, channel.role, measure, 500, 20.0, 0.4, THRESHOLD, 1e-3, 0, "leukocytes"
        )
    return LeukocyteReference(500, entries)


def event(**changes) -> dict:
    """A plain CTC; markers are given as their level."""
    row = {
        "label": "ctc",
        "unassigned": False,
        "kind": "cell",
        "parent": -1,
        "p_contains_ctc": 0.99,
        "nucleus_area_um2": 40.0,
        "nucleus_in_ck": 0.9,
        "nucleus_count": 1,
        "diameter_um": 10.0,
        "saturated": False,
        "at_edge": False,
        "CK": 500.0,
    }
    return {**row, **changes}


LEUKOCYTE = {"label": "leukocyte", "p_contains_ctc": 0.001, "CK": 20.0, "CD45": 300.0}


def columns(*rows: dict) -> dict[str, np.ndarray]:
    table = {}
    for name in (name for name in rows[0] if name not in CHANNELS):
        values = [row[name] for row in rows]
        table[name] = np.array(values, object) if isinstance(values[0], str) else np.array(values)
    for marker in CHANNELS:
        level = np.array([row.get(marker, 10.0) for row in rows], np.float32)
        table |= {f"mean_{marker}": level, f"max_{marker}": level, f"positive_area_um2_{marker}": level * 0 + 5}
    return table


def run(*rows: dict, of: Panel = FULL, labels=LABELS) -> dict[str, np.ndarray]:
    return interpret(columns(*rows), reference(of), of, labels)


def test_plain_ctc_and_plain_leukocyte():
    out = run(event(), event(**LEUKOCYTE))
    np.testing.assert_array_equal(out["positive_CK"], [True, False])
    assert out["phenotype"].tolist() == ["epithelial", ""]
    assert out["definition_met"].tolist() == [True, False]
    assert out["definition_reason"].tolist() == ["", "CK negative; CD45 positive"]
    assert out["review"].tolist() == [False, False]
    assert out["review_reason"].tolist() == ["", ""]
    assert out["partners"].tolist() == ["", ""]
    assert out["tumour_nuclei"].tolist() == [1, 0]
    assert set(out) == {
        *("positive_CK", "positive_vimentin", "positive_PD-L1", "phenotype", "definition_met", "definition_reason"),
        *("review", "review_reason", "partners", "tumour_nuclei"),
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nucleus_area_um2": 0.0, "nucleus_in_ck": np.nan}, "no nucleus"),
        ({"nucleus_in_ck": 0.49}, "less than half of the nucleus inside the CK area"),
        ({"CK": 50.0}, "CK negative"),
        ({"CD45": 200.0}, "CD45 positive"),
        ({"diameter_um": 3.9}, "smaller than 4 um"),
        ({"diameter_um": 3.9, "CK": 50.0}, "CK negative; smaller than 4 um"),
    ],
)
def test_each_part_of_the_definition_is_named_and_disagreement_goes_to_review(change, reason):
    out = run(event(**change))
    assert out["definition_met"].tolist() == [False]
    assert out["definition_reason"][0] == f"called ctc, but does not meet the written definition: {reason}"
    assert out["review"][0]
    assert "network and written definition disagree" in out["review_reason"][0]


def test_definition_met_but_called_something_else():
    out = run(event(label="leukocyte"), event(label="leukocyte", unassigned=True))
    assert out["definition_reason"][0] == "called leukocyte, but meets the written definition"
    assert out["definition_reason"][1] == ""
    assert out["review"].tolist() == [True, True]
    assert out["review_reason"][1] == "unassigned, and may contain a CTC"


def test_an_unassigned_event_whose_set_holds_a_ctc_class_goes_to_review():
    given = [(True, False), (True, True), (False, True)]
    out = run(*(event(**LEUKOCYTE, unassigned=lost, set_holds_ctc=held) for lost, held in given))
    assert out["review"].tolist() == [False, True, False]
    assert out["review_reason"].tolist() == ["", SET_REASON, ""]


@pytest.mark.parametrize(
    ("ck", "vimentin", "state"),
    [(500, 10, "epithelial"), (500, 500, "hybrid"), (10, 500, "mesenchymal"), (10, 10, "negative")],
)
def test_phenotypes(ck, vimentin, state):
    assert run(event(CK=ck, vimentin=vimentin))["phenotype"].tolist() == [state]
    assert run(event(CK=ck, vimentin=vimentin, unassigned=True))["phenotype"].tolist() == [""]


def test_phenotype_with_one_role_or_none():
    rows = event(), event(CK=10, vimentin=500)
    assert run(*rows, of=panel("DAPI", "CK", "CD45"))["phenotype"].tolist() == ["epithelial", "negative"]
    assert run(*rows, of=panel("DAPI", "vimentin", "CD45"))["phenotype"].tolist() == ["negative", "mesenchymal"]
    assert run(*rows, of=panel("DAPI", "CD45"))["phenotype"].tolist() == ["", ""]


def test_without_an_epithelial_channel_the_definition_cannot_be_said():
    out = run(event(vimentin=500), of=panel("DAPI", "vimentin", "CD45"))
    assert out["definition_met"].tolist() == [None]
    assert out["definition_reason"][0] == "the panel has no epithelial channel"
    assert not out["review"][0]


def test_without_a_leukocyte_channel_it_can_only_fail():
    out = run(event(), event(CK=10), of=panel("DAPI", "CK"))
    assert out["definition_met"].tolist() == [None, False]
    assert out["definition_reason"][0] == "the panel has no leukocyte channel"
    assert out["definition_reason"][1].endswith("CK negative; the panel has no leukocyte channel")


def test_single_double_positive_cell_goes_to_review_and_a_member_does_not():
    both = {"label": "leukocyte", "CK": 500.0, "CD45": 300.0}
    out = run(event(**both), event(**both, parent=2), event(kind="cluster", label="leukocyte", members=2))
    assert out["review_reason"][0] == "positive for an epithelial and for a leukocyte marker"
    assert out["review_reason"][1] == ""


@pytest.mark.parametrize(("p", "review"), [(0.049, False), (0.05, True)])
def test_unassigned_events_that_may_hold_a_ctc(p, review):
    assert run(event(**{**LEUKOCYTE, "unassigned": True, "p_contains_ctc": p}))["review"].tolist() == [review]


@pytest.mark.parametrize("flag", ["saturated", "at_edge"])
def test_flagged_ctcs_go_to_review_and_leukocytes_do_not(flag):
    out = run(event(**{flag: True}), event(**{**LEUKOCYTE, flag: True}))
    assert out["review"].tolist() == [True, False]


def test_cluster_with_every_partner():
    out = run(
        event(parent=4, nucleus_count=2, CD61=400.0, **{"PD-L1": 300.0}),
        event(**LEUKOCYTE, parent=4, CD66b=400.0),
        event(**LEUKOCYTE, parent=4),
        event(**{**LEUKOCYTE, "PD-L1": 300.0}),
        event(kind="cluster", label="ctc_neutrophil_cluster", CK=90.0, CD45=200.0),
    )
    assert out["partners"].tolist() == ["platelet", "", "", "", "neutrophil+other_leukocyte+platelet"]
    assert out["tumour_nuclei"].tolist() == [2, 0, 0, 0, 2]
    assert out["positive_CK"].tolist() == [True, False, False, False, True]
    assert out["positive_PD-L1"].tolist() == [True, False, False, True, True]
    assert out["phenotype"][4] == "epithelial"
    assert out["definition_met"][4]
    assert not out["review"][4]


def test_markers_of_leukocyte_members_are_not_the_clusters():
    out = run(
        event(parent=2), event(**{**LEUKOCYTE, "PD-L1": 300.0}, parent=2), event(kind="cluster", **{"PD-L1": 150.0})
    )
    assert out["positive_PD-L1"].tolist() == [False, True, False]


def test_two_tumour_cells_without_partners():
    out = run(event(parent=2), event(parent=2), event(kind="cluster"))
    assert out["tumour_nuclei"].tolist() == [1, 1, 2]
    assert out["partners"][2] == ""


def test_tumour_member_called_leukocyte_is_known_by_its_markers():
    out = run(event(label="leukocyte", parent=2), event(**LEUKOCYTE, parent=2), event(kind="cluster"))
    assert out["tumour_nuclei"].tolist() == [1, 0, 1]
    assert out["partners"][2] == "other_leukocyte"


def test_ctc_in_a_cluster_called_leukocyte_is_not_lost():
    out = run(event(parent=2), event(**LEUKOCYTE, parent=2), event(**{**LEUKOCYTE, "kind": "cluster"}))
    assert "a member is called a CTC" in out["review_reason"][2]
    assert out["definition_reason"][2] == "called leukocyte, but meets the written definition"


def test_cluster_called_ctc_without_a_tumour_cell():
    out = run(event(**LEUKOCYTE, parent=2), event(**LEUKOCYTE, parent=2), event(kind="cluster"))
    assert "no member of the cluster is a tumour cell by itself" in out["review_reason"][2]
    assert "no member of the cluster meets it" in out["definition_reason"][2]
    assert out["partners"][2] == ""


@pytest.mark.parametrize(
    ("stain", "partner"), [({"CD45": 300.0, "CD66b": 400.0}, "neutrophil"), ({"CD45": 300.0}, "other_leukocyte"),
                           ({"CD66b": 400.0}, "neutrophil")],
)  # fmt: skip
def test_leukocyte_called_by_the_ctc_that_it_touches_is_the_partner(stain, partner):
    called = {"label": "ctc_neutrophil_cluster", "CK": 20.0}
    out = run(event(parent=2), event(**called, **stain, parent=2), event(kind="cluster", label=called["label"]))
    assert out["tumour_nuclei"].tolist() == [1, 0, 1]
    assert out["partners"].tolist() == ["", "", partner]


def test_called_members_that_stain_for_both_or_neither_stay_tumour_cells():
    out = run(
        event(CK=20.0, parent=2), event(CD45=300.0, CD66b=400.0, parent=2), event(kind="cluster"),
        event(vimentin=300.0, CK=20.0, CD45=300.0, parent=5), event(CK=20.0, CD45=300.0, parent=5),
        event(kind="cluster"),
    )  # fmt: skip
    assert out["tumour_nuclei"].tolist() == [1, 1, 2, 1, 0, 1]


def test_called_leukocyte_like_members_stay_tumour_cells_where_no_other_is_one():
    dim = {"CK": 20.0, "CD45": 300.0}
    out = run(event(**dim, parent=2), event(**LEUKOCYTE, parent=2), event(kind="cluster"), event(**dim))
    assert out["tumour_nuclei"].tolist() == [1, 0, 1, 1]
    assert out["partners"][2] == "other_leukocyte"


def test_ctcs_in_a_crowd_go_to_review():
    reason = "in a crowd too large to be one cluster"
    out = run(event(crowded=True), event(crowded=False), event(**LEUKOCYTE, crowded=True),
              event(label="leukocyte", crowded=True))  # fmt: skip
    assert [reason in text for text in out["review_reason"]] == [True, False, False, True]
    assert out["review"].tolist() == [True, False, False, True]


def test_a_marker_without_a_reference_is_called_for_no_event():
    out = interpret(columns(event(), event(**LEUKOCYTE, CD66b=400.0)), LeukocyteReference(0, {}), FULL, LABELS)
    assert not out["positive_CK"].any()
    assert out["phenotype"].tolist() == ["negative", ""]


def test_clusters_of_leukocytes_have_no_partners():
    out = run(event(**LEUKOCYTE, parent=2), event(**LEUKOCYTE, parent=2), event(**{**LEUKOCYTE, "kind": "cluster"}))
    assert out["partners"].tolist() == ["", "", ""]
    assert not out["review"].any()


def test_any_label_schema_will_do():
    out = run(event(label="g1"), event(label="s"), labels=load_schema("jurkat_phases"))
    assert out["phenotype"].tolist() == ["", ""]
    assert out["tumour_nuclei"].tolist() == [0, 0]
    assert out["definition_reason"].tolist() == ["", ""]


def test_no_events():
    none = {name: values[:0] for name, values in columns(event()).items()}
    out = interpret(none, reference(FULL), FULL, LABELS)
    assert all(len(values) == 0 for values in out.values())


def test_rows_do_not_depend_on_their_company():
    rows = [event(), event(**LEUKOCYTE), event(CK=10), event(unassigned=True)]
    together = run(*rows)
    for i, row in enumerate(rows):
        alone = run(row)
        assert all(alone[name][0] == together[name][i] for name in together)


def test_joined_texts():
    masks = [(np.array([True, False, True]), "a"), (np.array([True, False, False]), "b")]
    assert joined(masks, 3, "+").tolist() == ["a+b", "", "a"]


def _cluster_of_three(**cluster) -> list[dict]:
    """A cluster that is called a leukocyte, and its three cells, of which the second is likeliest a CTC."""
    rows = [event(**LEUKOCYTE, **{"kind": "cluster", "diameter_um": 18.0, **cluster}, counted=False)]
    cells = [event(**{**LEUKOCYTE, "p_contains_ctc": p}, counted=True) for p in (0.01, 0.04, 0.02)]
    return rows + [{**cell, "parent": 0} for cell in cells]


def test_the_review_of_a_cluster_that_is_not_counted_goes_to_its_likeliest_cell():
    rows = _cluster_of_three()
    rows[0] |= {"unassigned": True, "p_contains_ctc": 0.45}
    out = run(*rows)
    assert out["review"].tolist() == [True, False, True, False]
    assert out["review_reason"][2] == f"{CLUSTER_REASON}: unassigned, and may contain a CTC"


def test_a_cell_that_is_for_review_by_itself_stands_for_its_cluster():
    rows = _cluster_of_three()
    rows[0] |= {"unassigned": True, "p_contains_ctc": 0.45}
    rows[3] |= {"unassigned": True, "p_contains_ctc": 0.3}
    assert run(*rows)["review"].tolist() == [True, False, False, True]


def test_a_cluster_that_is_counted_or_not_for_review_leaves_its_cells_alone():
    plain = _cluster_of_three()
    assert not run(*plain)["review"].any()
    counted = _cluster_of_three()
    counted[0] |= {"unassigned": True, "p_contains_ctc": 0.45, "counted": True}
    assert run(*counted)["review"].tolist() == [True, False, False, False]
