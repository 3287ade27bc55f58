import numpy as np
import pytest

from ctcnet.errors import LabelError
from ctcnet.labels import CONTAINS_CTC, LabelSchema, load_schema, schema_from_dict, schema_from_labels

pytestmark = pytest.mark.unit


def test_five_classes_roll_up_to_contains_ctc():
    schema = load_schema("five_class")
    assert schema.classes == ("ctc", "leukocyte", "ctc_neutrophil_cluster", "ctc_platelet_cluster", "debris")
    np.testing.assert_array_equal(schema.rollup_mask(CONTAINS_CTC), [True, False, True, True, False])
    assert schema_from_dict(schema.to_dict()) == schema


def test_shipped_jurkat_schema_loads():
    assert len(load_schema("jurkat_phases").classes) == 7


def test_schema_from_labels_is_sorted_and_distinct():
    assert schema_from_labels(["b", "a", "b"]).classes == ("a", "b")


def test_unknown_label_lists_the_classes():
    with pytest.raises(LabelError, match="ctc_platelet_cluster"):
        load_schema("five_class").index("ctcs")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "s", "classes": ["a"]}, "fewer than two"),
        ({"name": "s", "classes": ["a", "a"]}, "twice"),
        ({"name": "s", "classes": ["a", "unassigned"]}, "unassigned"),
        ({"name": "s", "classes": "ab"}, "no list"),
        ({"name": "s", "classes": ["a", "b"], "rollups": {"r": ["c"]}}, "unknown classes"),
        ({"name": "s", "classes": ["a", "b"], "parents": {"a": "p", "p": "a"}}, "circle"),
        ({"name": "s", "classes": ["a", "b"], "colour": 1}, "unknown colour"),
    ],
)
def test_malformed_schema_is_one_clear_error(content, message):
    with pytest.raises(LabelError, match=message):
        schema_from_dict(content)


def test_unknown_rollup_lists_those_there_are():
    with pytest.raises(LabelError, match="contains_ctc"):
        load_schema("five_class").rollup_mask("tumour")


def test_rollup_mask_follows_class_order():
    schema = LabelSchema("s", ("x", "y", "z"), rollups={"r": ("z", "x")})
    np.testing.assert_array_equal(schema.rollup_mask("r"), [True, False, True])
