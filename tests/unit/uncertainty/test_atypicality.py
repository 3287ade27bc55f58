import numpy as np
import pytest
import torch
from torch import nn

from ctcnet.errors import ModelFileError, StatisticsError
from ctcnet.runtime.gaussian_distance import gaussian_distance, signed_log
from ctcnet.uncertainty import (
    Atypicality,
    TypicalFeatures,
    atypicality_from_state,
    crop_statistics,
    fit_atypicality,
    num_crop_statistics,
    typical_features,
)
from ctcnet.uncertainty.atypicality import (
    EMBEDDING_DIRECTIONS,
    LEAST_CONTRAST,
    STATISTICS_DIRECTIONS,
    fit_gaussian,
    least_contrast_of,
)
from ctcnet.uncertainty.crop_statistics import CONTRAST

pytestmark = pytest.mark.unit

WIDTHS = 8, num_crop_statistics(2)


@pytest.fixture(scope="module")
def fitted(make_cells, embed):
    x = make_cells(2000)
    labels = np.arange(2000) % 3
    return fit_atypicality(embed(x).numpy(), crop_statistics(x).numpy(), labels)


def test_typical_crops_score_below_one_as_often_as_stated(fitted, make_cells, embed):
    x = make_cells(2000)
    assert int((fitted(x, embed(x)) > 1).sum()) == 4
    new = make_cells(4000, seed=9)
    assert float((fitted(new, embed(new)) > 1).float().mean()) < 0.01


@pytest.mark.parametrize("kind", ["blank", "white", "saturated", "inverted", "same", "huge"])
def test_what_is_no_cell_is_atypical(fitted, make_cells, embed, kind):
    x = make_cells(200, seed=4)
    changed = {
        "blank": lambda: 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
        "white": lambda: torch.rand(x.shape, generator=torch.Generator().manual_seed(0)),
        "saturated": lambda: torch.clamp(30 * x, max=10.0),
        "inverted": lambda: 3.0 - x,
        "same": lambda: x * 0 + x.amax(),
        "huge": lambda: nn.functional.interpolate(x[..., 5:11, 5:11], size=16, mode="bilinear"),
    }[kind]()
    assert float((fitted(changed, embed(changed)) > 1).float().mean()) > 0.97


def test_an_empty_crop_is_atypical_whatever_the_distances_say(fitted, make_cells, embed):
    x = make_cells(3)
    statistics = crop_statistics(x)
    statistics[:, CONTRAST] = 1e9
    distance = fitted.score(embed(x), statistics)
    assert (distance < 1).all()
    for contrast, atypical in ((0.0, True), (0.99, True), (1.01, False)):
        statistics[:, CONTRAST] = contrast * fitted.least_contrast
        score = fitted.score(embed(x), statistics)
        assert ((score > 1) == atypical).all()
        assert (score >= distance).all()


def test_the_least_contrast_keeps_away_from_typical_crops():
    contrast = np.linspace(30, 60, 1001)[:, None]
    assert least_contrast_of(contrast, 0.99) == LEAST_CONTRAST
    assert least_contrast_of(contrast / 10, 0.99) == pytest.approx(0.5 * 3.03)


def test_torch_gives_what_numpy_fitted(make_cells, embed):
    x, labels = make_cells(1000), np.arange(1000) % 2
    drawn_in, statistics = signed_log(embed(x).numpy()), crop_statistics(x).numpy()
    values = drawn_in, statistics[:, :CONTRAST]
    fits = [
        fit_gaussian(part, labels, directions, 0.99)
        for part, directions in zip(values, (EMBEDDING_DIRECTIONS, STATISTICS_DIRECTIONS), strict=True)
    ]
    score = np.maximum(*(gaussian_distance(fit, part) for fit, part in zip(fits, values, strict=True)))
    fitted = fit_atypicality(embed(x).numpy(), statistics, labels, 0.99)
    contrast = statistics[:, CONTRAST]
    emptiness = (1 + least_contrast_of(statistics, 0.99)) / (1 + contrast)
    expected = np.maximum(score / np.quantile(score, 0.99), emptiness)
    np.testing.assert_allclose(fitted(x, embed(x)).numpy(), expected, rtol=1e-3)


def test_score_survives_as_a_state(fitted, make_cells, embed):
    again = atypicality_from_state(fitted.state_dict(), *WIDTHS)
    x = make_cells(10, seed=2)
    torch.testing.assert_close(again(x, embed(x)), fitted(x, embed(x)))


def test_states_that_do_not_fit_are_refused(fitted):
    state = fitted.state_dict()
    with pytest.raises(ModelFileError, match="another network, panel or version"):
        atypicality_from_state(state, WIDTHS[0] + 1, WIDTHS[1])
    broken = {
        "missing": {name: value for name, value in state.items() if name != "embedding.limit"},
        "shape": {**state, "statistics.deviations": torch.ones(3)},
        "nan": {**state, "embedding.centre": torch.full((8,), torch.nan)},
        "kind": {**state, "embedding.directions": "text"},
        "spread": {**state, "embedding.spread": torch.zeros(8)},
        "deviation": {**state, "statistics.deviations": -state["statistics.deviations"]},
        "rest": {**state, "embedding.rest_deviation": torch.zeros(())},
        "limit": {**state, "statistics.limit": torch.zeros(())},
        "contrast": {**state, "least_contrast": torch.tensor(torch.nan)},
        "older": {name: value for name, value in state.items() if name != "least_contrast"},
    }
    for content in (*broken.values(), None):
        with pytest.raises(ModelFileError, match="malformed"):
            atypicality_from_state(content, *WIDTHS)


def test_few_crops_are_refused(make_cells, embed):
    x = make_cells(100)
    with pytest.raises(StatisticsError, match="too few"):
        fit_atypicality(embed(x).numpy(), crop_statistics(x).numpy(), np.zeros(100, int))


def test_features_are_gathered_over_batches(make_cells, embed):
    class Network(nn.Module):
        def forward(self, x):
            return embed(x)[:, :3], embed(x)

    x = make_cells(7)
    found = typical_features(Network().eval(), x.split(3))
    np.testing.assert_allclose(found.embedding, embed(x).numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.statistics, crop_statistics(x).numpy(), rtol=1e-4, atol=1e-5)
    assert found.logits.shape == (7, 3)


def _typical(rng: np.random.Generator, count: int, empty: int = 0) -> TypicalFeatures:
    """Features around 0, of crops with a contrast of 50 but for those that are empty."""
    contrast = np.where(np.arange(count) < empty, 0.0, 50.0)[:, None]
    statistics = np.append(rng.normal(size=(count, 19)), contrast, axis=1).astype(np.float32)
    return TypicalFeatures(
        rng.normal(size=(count, 40)).astype(np.float32), statistics, np.zeros((count, 2), np.float32)
    )


def _share_above(score: Atypicality, of: TypicalFeatures) -> float:
    with torch.inference_mode():
        found = score.score(torch.from_numpy(of.embedding), torch.from_numpy(of.statistics))
    return float((found > 1).float().mean())


@pytest.mark.parametrize(("empty", "expected"), [(0, 0.01), (10, 0.01), (30, 0.01), (50, 0.0125), (500, 0.1025)])
def test_with_quantile_moves_the_limit_to_crops_that_were_not_fitted(empty: int, expected: float) -> None:
    rng = np.random.default_rng(3)
    fitted, others = _typical(rng, 600), _typical(rng, 5000, empty)
    first = fit_atypicality(fitted.embedding, fitted.statistics, np.arange(600) % 2)
    assert _share_above(first, others) > 0.02  # the crops of the fit lie nearer to their own means
    assert abs(_share_above(first.with_quantile(others, 0.99), others) - expected) < 0.001


def test_crops_that_are_all_empty_give_no_limit() -> None:
    rng = np.random.default_rng(3)
    fitted = _typical(rng, 600)
    first = fit_atypicality(fitted.embedding, fitted.statistics, np.arange(600) % 2)
    with pytest.raises(StatisticsError, match="every typical crop is empty"):
        first.with_quantile(_typical(rng, 50, 50), 0.99)
