from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import betabinom

from ctcnet.errors import SettingError
from ctcnet.runtime.conformal import judge_unassigned, prediction_sets
from ctcnet.training.temperature import fit_temperature
from ctcnet.training.uncertainty_fit import (
    HIGHEST_THRESHOLD,
    MOST_CROPS,
    UncertaintySettings,
    ValidationAnswers,
    fit_uncertainty,
    group_folds,
)
from ctcnet.uncertainty import TypicalFeatures

pytestmark = pytest.mark.unit

CLASSES = ("round", "long", "odd")
PRIOR = np.array([0.6, 0.3, 0.1])
SETS_ALONE = UncertaintySettings(alpha=0.1, atypical_share=None)


def make_answers(
    groups: int, crops: int, seed: int, *, spread: float = 0.0, counts: tuple[int, ...] | None = None
) -> ValidationAnswers:
    """Overconfident answers to so many crops of each group; groups differ by `spread`."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), crops)
    truth = rng.choice(3, len(group), p=PRIOR) if counts is None else np.repeat(np.arange(3), counts)
    group = group[: len(truth)]
    noise = rng.normal(size=(len(truth), 3)) + spread * rng.normal(size=(groups, 3))[group]
    bias = np.log(PRIOR * 3)
    embedding = rng.normal(size=(len(truth), 12)) + 4 * np.eye(12)[truth]
    features = TypicalFeatures(embedding, rng.normal(size=(len(truth), 8)), 2.5 * (noise + 2 * np.eye(3)[truth]))
    names = np.array([f"g{number}" for number in group], object)
    return ValidationAnswers(features, bias, PRIOR, np.eye(3, dtype=np.float32)[truth], names, CLASSES)


def probabilities(answers: ValidationAnswers, temperature: float) -> np.ndarray:
    return softmax(answers.features.logits / temperature + answers.bias, axis=1)


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_each_class_is_covered_on_new_groups_as_often_as_stated(two_channel_card, alpha):
    """Over many validation parts, coverage of new crops follows the beta-binomial law of split conformal sets."""
    covered, expected, variance, draws, tested = np.zeros(3), np.zeros(3), np.zeros(3), 60, 40
    new = make_answers(80, 100, 10_000)
    new_truth, rng = new.targets.argmax(axis=1), np.random.default_rng(0)
    for seed in range(draws):
        answers = make_answers(9, 60, seed)
        found = fit_uncertainty(answers, UncertaintySettings(alpha, None)).conformal
        assert found is not None
        temperature = fit_temperature(answers.features.logits, answers.bias, answers.targets, PRIOR).value
        sets = prediction_sets(probabilities(new, temperature), replace(two_channel_card, conformal=found))
        assert sets is not None
        for k, count in enumerate(found.calibration_crops):
            own = rng.choice(np.flatnonzero(new_truth == k), tested, replace=False)
            covered[k] += sets[own, k].sum()
            lost = np.floor((count + 1) * alpha)
            law = betabinom(tested, count + 1 - lost, lost)
            expected[k] += law.mean()
            variance[k] += law.var()
    assert (expected / (draws * tested) >= 1 - alpha - 1e-9).all()
    assert (np.abs(covered - expected) < 4 * np.sqrt(variance) + 1).all()


def test_thresholds_come_from_temperatures_of_other_groups():
    answers = make_answers(9, 40, 0)
    found = fit_uncertainty(answers, SETS_ALONE).conformal
    assert found is not None
    fold, truth = group_folds(answers.group, answers.targets), answers.targets.argmax(axis=1)
    own = np.empty(len(truth))
    for k in range(fold.max() + 1):
        rest = fold != k
        temperature = fit_temperature(answers.features.logits[rest], answers.bias, answers.targets[rest], PRIOR).value
        own[~rest] = probabilities(answers, temperature)[~rest, truth[~rest]]
    for k in range(3):
        values = np.sort(np.minimum(own[truth == k], HIGHEST_THRESHOLD))
        assert found.thresholds[k] == pytest.approx(values[int((len(values) + 1) * 0.1) - 1], rel=1e-6)
    assert found.calibration_crops == tuple(np.bincount(truth))


def test_folds_hold_whole_groups_and_are_the_same_again():
    answers = make_answers(9, 20, 0)
    fold = group_folds(answers.group, answers.targets)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[answers.group == name])) == 1 for name in set(answers.group))
    np.testing.assert_array_equal(fold, group_folds(answers.group, answers.targets))
    few = make_answers(2, 20, 0)
    assert set(group_folds(few.group, few.targets)) == {0, 1}


def test_equal_answers_give_equal_fits():
    first, again = (fit_uncertainty(make_answers(9, 40, 3), UncertaintySettings()) for _ in range(2))
    assert first.conformal == again.conformal
    assert first.notes == again.notes
    assert first.atypicality is not None
    assert again.atypicality is not None
    other = again.atypicality.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in first.atypicality.state_dict().items())
    assert len(first.notes) == 1
    assert "(conformal sets and atypicality) was fitted on the 360 crops of 9 validation groups" in first.notes[0]


def test_class_with_too_few_crops_leaves_no_sets_and_is_named(two_channel_card):
    answers = make_answers(9, 20, 1, counts=(60, 60, 8))
    found = fit_uncertainty(answers, UncertaintySettings())
    assert found.conformal is None
    assert found.atypicality is not None
    assert found.notes[0] == (
        "No conformal sets: too few validation crops to state alpha, 8 of odd (alpha 0.1 needs 9)."
    )
    assert found.notes[1].startswith("What decides on unassigned (atypicality) was fitted on the 128 crops of 7")
    card = replace(two_channel_card, conformal=found.conformal, unassigned_below=0.5)
    p = np.array([[0.6, 0.4, 0], [0.4, 0.35, 0.25], [0.6, 0.4, 0]], np.float32)
    unassigned = judge_unassigned(p, np.array([0.5, 0.5, 1.5], np.float32), card)
    np.testing.assert_array_equal(unassigned, [False, True, True])


def test_alpha_of_each_class_is_its_own():
    alpha = {"odd": 0.2, "round": 0.05, "long": 0.1}
    answers = make_answers(9, 20, 1, counts=(60, 60, 8))
    found = fit_uncertainty(answers, UncertaintySettings(alpha=alpha)).conformal
    assert found is not None
    assert found.alpha == (0.05, 0.1, 0.2)
    assert found.calibration_crops == (60, 60, 8)


def test_reader_disagreement_counts_for_the_larger_share():
    answers = make_answers(9, 40, 5)
    hard = fit_uncertainty(answers, SETS_ALONE).conformal
    soft = fit_uncertainty(answers._replace(targets=0.8 * answers.targets + 0.2 / 3), SETS_ALONE).conformal
    assert hard is not None
    assert soft is not None
    assert soft.calibration_crops == hard.calibration_crops


def test_certain_answers_leave_room_for_rounding():
    answers = make_answers(9, 40, 2)
    sure = answers.features._replace(logits=80 * answers.targets.astype(np.float64))
    found = fit_uncertainty(answers._replace(features=sure), SETS_ALONE).conformal
    assert found is not None
    assert max(found.thresholds) <= np.float32(HIGHEST_THRESHOLD)


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        (make_answers(1, 200, 0), "No conformal sets and no atypicality: all validation crops are of one group"),
        (make_answers(9, 40, 0)._replace(group=np.full(360, "", object)), "have no group"),
        (make_answers(2, 3, 0), "0 of long|1 of long|needs 9"),
        (make_answers(3, 12, 0, counts=(12, 12, 12)), "found 24; needed 30 or more"),
        (make_answers(5, 10, 0), "too few validation crops for the share 0.01; found 50; needed 99 or more"),
    ],
)
def test_what_cannot_be_fitted_is_said_and_stops_nothing(answers, match):
    found = fit_uncertainty(answers, UncertaintySettings())
    assert found.atypicality is None
    assert any(match in note or any(part in note for part in match.split("|")) for note in found.notes)


def test_answers_that_are_no_numbers_stop_nothing():
    answers = make_answers(9, 40, 0)
    broken = answers.features._replace(
        logits=answers.features.logits * np.nan, embedding=answers.features.embedding * np.nan
    )
    found = fit_uncertainty(answers._replace(features=broken), UncertaintySettings())
    assert found[:2] == (None, None)
    assert [note.partition(":")[0] for note in found.notes] == ["No conformal sets", "No atypicality"]


def test_class_without_crops_is_not_known_to_atypicality():
    found = fit_uncertainty(make_answers(9, 20, 1, counts=(90, 60, 1)), UncertaintySettings(alpha=None))
    assert found.conformal is None
    assert found.notes[0].startswith("Atypicality does not know odd")


def test_nothing_is_fitted_that_is_switched_off():
    assert fit_uncertainty(make_answers(9, 40, 0), UncertaintySettings(None, None)) == (None, None, ())
    assert fit_uncertainty(make_answers(9, 40, 0), SETS_ALONE).atypicality is None


def test_of_many_crops_some_are_drawn():
    answers = make_answers(10, 1, 0)
    rows, rng = np.arange(MOST_CROPS + 5000) % 10, np.random.default_rng(0)
    many = ValidationAnswers(
        TypicalFeatures(*(column[rows] + rng.normal(size=(len(rows), column.shape[1])) for column in answers.features)),
        answers.bias,
        answers.prior,
        answers.targets[rows],
        answers.group[rows],
        CLASSES,
    )
    found = fit_uncertainty(many, UncertaintySettings(alpha=None))
    assert found.atypicality is not None
    assert f"{len(rows)} crops" in found.notes[-1]


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.0}, {"alpha": 1.0}, {"alpha": float("nan")}, {"alpha": {"odd": 2.0}}, {"atypical_share": -0.1}],
)
def test_shares_out_of_range_are_refused(settings):
    with pytest.raises(SettingError, match="out of range"):
        UncertaintySettings(**settings)


@pytest.mark.parametrize("names", [("round", "long"), ("round", "long", "odd", "flat"), ("round", "long", "od")])
def test_alpha_of_other_classes_is_refused(names):
    with pytest.raises(SettingError, match="other classes"):
        UncertaintySettings(alpha=dict.fromkeys(names, 0.1)).alphas(CLASSES)
