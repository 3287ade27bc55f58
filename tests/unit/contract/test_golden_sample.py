import json
from dataclasses import replace

import numpy as np
import pytest

from ctcnet.contract.golden_sample import GoldenCase, GoldenSample, check_golden, golden_from_text
from ctcnet.contract.packed_array import MOST_VALUES, pack_array, unpack_array
from ctcnet.errors import ContractError, ModelFileError
from ctcnet.runtime import Predictions

pytestmark = pytest.mark.unit

UINT16 = np.dtype(np.uint16)


class _Answers:
    """A model of two crops that gives stored answers, whatever the levels unless they are its `own`."""

    def __init__(self, sample, card, own=None, **changes):
        self.card, self.own = card, own
        case = sample.cases[0]
        stored = Predictions(case.probabilities, case.unassigned, case.atypicality, np.zeros((2, 0)))
        self.answer = stored._replace(**changes)

    def predict(self, crops, background=None, scale=None):
        if self.own is not None and not np.isnan(background).any():
            return self.answer._replace(probabilities=self.own)
        return self.answer


@pytest.fixture
def card(two_channel_card):
    """Of three channels and two classes; the sample's second crop is unassigned by it."""
    own = replace(two_channel_card.normalization, background=(1.0, 2.0, 3.0), scale=(4.0, 5.0, 6.0))
    return replace(two_channel_card, unassigned_below=0.68, normalization=own)


@pytest.fixture
def sample() -> GoldenSample:
    crops = np.random.default_rng(0).integers(0, 4096, (2, 3, 4, 4)).astype(np.uint16)
    levels = np.array([np.nan, 10, 20.5], np.float32)
    p = np.array([[0.7, 0.3], [1 / 3, 2 / 3]], np.float32)
    case = GoldenCase(levels, levels + 1, p, np.array([False, True]), np.array([0.5, np.nan], np.float32))
    return GoldenSample(crops, (case,), 1e-4, 2e-3)


def test_sample_survives_its_text(sample):
    read = golden_from_text(sample.to_text(), "m.onnx")
    np.testing.assert_array_equal(read.crops, sample.crops)
    assert (read.probability_tolerance, read.atypicality_tolerance) == (1e-4, 2e-3)
    for found, expected in zip(read.cases[0], sample.cases[0], strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_text_is_plain_json_that_other_languages_read(sample):
    content = json.loads(sample.to_text(), parse_constant=pytest.fail)
    assert content["cases"][0]["background"] == [None, 10, 20.5]
    assert content["crops"]["shape"] == [2, 3, 4, 4]


def test_right_answers_pass_with_their_difference(sample, card):
    moved = sample.cases[0].probabilities + np.float32(5e-5)
    found = check_golden(sample, _Answers(sample, card, probabilities=moved), UINT16, "m.onnx")
    assert found.answers == 2
    assert found.probability == pytest.approx(5e-5, rel=0.01)
    assert found.atypicality == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probabilities": np.array([[0.7, 0.3], [0.33, 0.67]], np.float32)}, "probabilities.*crop 2"),
        ({"probabilities": np.full((2, 2), np.nan, np.float32)}, "probabilities.*crop 1"),
        ({"probabilities": np.zeros((2, 3), np.float32)}, "probabilities"),
        ({"unassigned": np.array([True, True])}, "unassigned.*crop 1"),
        ({"atypicality": np.array([0.51, np.nan], np.float32)}, "atypicality.*crop 1"),
        ({"atypicality": np.array([0.5, 0.5], np.float32)}, "atypicality.*crop 2"),
        ({"atypicality": np.array([np.inf, np.nan], np.float32)}, "atypicality.*crop 1"),
    ],
)
def test_other_answers_are_named(sample, card, changes, words):
    with pytest.raises(ContractError, match=words):
        check_golden(sample, _Answers(sample, card, **changes), UINT16, "m.onnx")


def test_thresholds_of_the_card_that_decide_otherwise_than_the_graph_are_refused(sample, card):
    other = replace(card, unassigned_below=0.9)
    with pytest.raises(ContractError, match=r"unassigned.*crop 1"):
        check_golden(sample, _Answers(sample, other), UINT16, "m.onnx")


def test_levels_of_the_card_that_are_not_those_of_the_graph_are_refused(sample, card):
    other = sample.cases[0].probabilities[:, ::-1]
    with pytest.raises(ContractError, match=r"levels.*where none are given"):
        check_golden(sample, _Answers(sample, card, own=other), UINT16, "m.onnx")
    per_crop = replace(card, normalization=replace(card.normalization, mode="per_crop", background=None, scale=None))
    check_golden(sample, _Answers(sample, per_crop, own=other), UINT16, "m.onnx")


@pytest.mark.parametrize(
    "changes",
    [
        {"crops": None},
        {"cases": []},
        {"cases": [1]},
        {"probability_tolerance": "much"},
        {"atypicality_tolerance": None},
        {"crops": pack_array(np.zeros((0, 3, 4, 4), np.uint16))},
        {"crops": pack_array(np.zeros((2, 2, 4, 4), np.uint16))},
        {"crops": pack_array(np.zeros((2, 3, 4, 4), np.float32))},
    ],
)
def test_malformed_samples_are_refused(sample, changes):
    content = json.loads(sample.to_text()) | changes
    with pytest.raises(ModelFileError, match=r"m\.onnx"):
        golden_from_text(json.dumps(content), "m.onnx")


@pytest.mark.parametrize("name", ["background", "probabilities", "unassigned", "atypicality"])
def test_a_number_in_place_of_an_array_is_refused(sample, name):
    content = json.loads(sample.to_text())
    content["cases"][0][name] = 0
    with pytest.raises(ModelFileError, match="fit together"):
        golden_from_text(json.dumps(content), "m.onnx")


def test_ragged_answers_are_refused(sample):
    ragged = replace(sample, cases=(sample.cases[0]._replace(unassigned=np.array([True])),))
    with pytest.raises(ModelFileError, match="fit together"):
        golden_from_text(ragged.to_text(), "m.onnx")


@pytest.mark.parametrize(
    "changes",
    [{"dtype": "object"}, {"shape": [5]}, {"shape": [-1, -6]}, {"shape": [MOST_VALUES, 2]}, {"zlib_base64": "?"}],
)
def test_arrays_of_another_size_are_refused(changes):
    packed = pack_array(np.arange(6, dtype=np.uint16))
    np.testing.assert_array_equal(unpack_array(packed, "x"), np.arange(6))
    with pytest.raises(ModelFileError):
        unpack_array(packed | changes, "x")
