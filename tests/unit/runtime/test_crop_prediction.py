import itertools
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.errors import ManifestError, ModelPanelError, SettingError
from ctcnet.normalization import per_crop_levels
from ctcnet.panel import Channel, Panel
from ctcnet.runtime import OnnxPredictor, SessionSettings, classify_crops, predict_crops
from ctcnet.runtime.crop_prediction import _batches_of_equal_levels
from ctcnet.runtime.predictions import entropy_nats

pytestmark = pytest.mark.unit

ONE_THREAD = SessionSettings(threads=1)


@dataclass
class _Crops:
    panel: Panel
    pixels: np.ndarray
    background: np.ndarray
    scale: np.ndarray

    @property
    def path(self):
        return np.array([f"{row}.tif" for row in range(len(self.pixels))], dtype=object)

    def read(self, rows, pixel_size_um, crop_size_px):
        assert (pixel_size_um, crop_size_px) == (0.5, 8)
        return self.pixels[rows]


def _crops(card, count=23, cartridges=3, unstated=()):
    rng = np.random.default_rng(1)
    cartridge = rng.integers(0, cartridges, count)
    background, scale = rng.uniform(5, 50, (cartridges, 2)), rng.uniform(200, 900, (cartridges, 2))
    pixels = rng.integers(0, 2000, (count, 2, 8, 8)).astype(np.uint16)
    b, s = background[cartridge].astype(np.float32), scale[cartridge].astype(np.float32)
    b[list(unstated)] = s[list(unstated)] = np.nan
    return _Crops(card.panel, pixels, b, s)


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_each_crop_meets_its_own_cartridge_in_order(
    write_linear_model, two_channel_card, linear_probabilities, batch_size
):
    crops = _crops(two_channel_card)
    answer, levels = classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), crops, batch_size=batch_size)
    expected = linear_probabilities(crops.pixels, crops.background, crops.scale)
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    assert set(levels) == {"cartridge"}
    assert answer.embedding.shape == (23, 0)


def test_batches_are_the_predictors_unless_asked_otherwise(write_linear_model, two_channel_card):
    crops = _crops(two_channel_card, count=150, cartridges=1)
    sizes = []

    class Recorder(OnnxPredictor):
        def predict(self, crops, background=None, scale=None):
            sizes.append(len(crops))
            return super().predict(crops, background, scale)

    predictor = Recorder(write_linear_model(), ONE_THREAD)
    for batch_size in (None, 100):
        classify_crops(predictor, crops, batch_size=batch_size)
    assert sizes == [64, 64, 22, 100, 50]


def test_calls_side_by_side_change_no_answer(write_linear_model, two_channel_card):
    crops = _crops(two_channel_card, count=150, cartridges=5)
    together, call = threading.Barrier(3, timeout=30), itertools.count()

    class Meeting(OnnxPredictor):
        def predict(self, crops, background=None, scale=None):
            if self.calls_at_once > 1 and next(call) < 3:
                together.wait()  # the first goes on when three are under way
            return super().predict(crops, background, scale)

    model = write_linear_model()
    answers = [
        classify_crops(Meeting(model, SessionSettings(threads=1, calls_at_once=calls)), crops, batch_size=10)[0]
        for calls in (1, 3)
    ]
    for one, three in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, three)


def test_rows_without_levels_use_the_models_own_and_say_so(write_linear_model, two_channel_card, linear_probabilities):
    crops = _crops(two_channel_card, unstated=(2, 20))
    predictor = OnnxPredictor(write_linear_model(), ONE_THREAD)
    with pytest.warns(UserWarning, match="2 of 23"):
        answer, levels = classify_crops(predictor, crops)
    assert list(np.flatnonzero(levels == "model")) == [2, 20]
    expected = linear_probabilities(crops.pixels, crops.background, crops.scale)
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)


def test_the_models_own_levels_can_be_asked_for(write_linear_model, two_channel_card, linear_probabilities):
    crops = _crops(two_channel_card)
    answer, levels = classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), crops, levels="model")
    nan = np.full(2, np.nan)
    np.testing.assert_allclose(answer.probabilities, linear_probabilities(crops.pixels, nan, nan), atol=1e-5)
    assert set(levels) == {"model"}


def test_fixed_mode_never_uses_the_cartridge(write_linear_model, two_channel_card, linear_probabilities):
    crops = _crops(two_channel_card)
    answer, levels = classify_crops(OnnxPredictor(write_linear_model(mode="fixed"), ONE_THREAD), crops)
    nan = np.full(2, np.nan)
    np.testing.assert_allclose(answer.probabilities, linear_probabilities(crops.pixels, nan, nan), atol=1e-5)
    assert set(levels) == {"model"}


def test_per_crop_levels_are_those_of_the_definition(write_linear_model, two_channel_card, linear_probabilities):
    crops = _crops(two_channel_card)
    answer, levels = classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), crops, levels="per_crop")
    expected = linear_probabilities(crops.pixels, *per_crop_levels(crops.pixels, 64.0))
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    assert set(levels) == {"per_crop"}


def test_per_crop_levels_of_display_pictures_share_their_scale(
    write_linear_model, two_channel_card, linear_probabilities
):
    predictor, crops = OnnxPredictor(write_linear_model(), ONE_THREAD), _crops(two_channel_card)
    planes = (Channel("DAPI", "nucleus", plane="B"), Channel("CK", "epithelial", plane="R"))
    crops.panel = replace(two_channel_card.panel, channels=planes)
    predictor.card = replace(two_channel_card, panel=crops.panel)
    answer, _ = classify_crops(predictor, crops, levels="per_crop")
    expected = linear_probabilities(crops.pixels, *per_crop_levels(crops.pixels, 64.0, shared_scale=True))
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)


def test_levels_for_some_channels_only_are_refused(write_linear_model, two_channel_card):
    crops = _crops(two_channel_card)
    crops.background[3, 1] = np.nan
    with pytest.raises(ManifestError, match="row 4"):
        classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), crops)


def test_channels_are_matched_by_name(write_linear_model, two_channel_card):
    predictor = OnnxPredictor(write_linear_model(), ONE_THREAD)
    crops = _crops(two_channel_card)
    expected, _ = classify_crops(predictor, crops)
    channels = (Channel("ck", "epithelial"), Channel("extra", "none"), Channel("DAPI", "nucleus"))
    turned = _Crops(
        Panel("turned", channels, 12),
        crops.pixels[:, [1, 0, 0]],
        crops.background[:, [1, 0, 0]],
        crops.scale[:, [1, 0, 0]],
    )
    turned.background[:, 1] = np.nan
    answer, _ = classify_crops(predictor, turned)
    np.testing.assert_array_equal(answer.probabilities, expected.probabilities)


@pytest.mark.parametrize(
    "channels",
    [
        (Channel("DAPI", "nucleus"),),
        (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")),
        (Channel("DAPI", "nucleus"), Channel("CK", "target")),
        (Channel("DAPI", "nucleus"), Channel("CK", "none")),
    ],
)
def test_another_panel_is_refused(write_linear_model, two_channel_card, channels):
    crops = replace(_crops(two_channel_card), panel=Panel("other", channels, 12))
    with pytest.raises(ModelPanelError, match="two_channels"):
        classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), crops)


def test_another_bit_depth_needs_cartridge_levels(write_linear_model, two_channel_card):
    predictor = OnnxPredictor(write_linear_model(), ONE_THREAD)
    crops = _crops(two_channel_card)
    crops.panel = replace(crops.panel, bit_depth=16)
    classify_crops(predictor, crops)
    with pytest.raises(ModelPanelError, match="16 bit"):
        classify_crops(predictor, crops, levels="model")


def test_float_crops_among_counts_are_named(write_linear_model, two_channel_card):
    crops = _crops(two_channel_card, count=10, cartridges=1)

    class Mixed(_Crops):
        def read(self, rows, pixel_size_um, crop_size_px):
            pixels = super().read(rows, pixel_size_um, crop_size_px)
            return pixels.astype(np.float32) if {6, 8} & set(rows) else pixels  # as np.stack makes them

    mixed = Mixed(crops.panel, crops.pixels, crops.background, crops.scale)
    with pytest.raises(SettingError, match=r"^6\.tif: is float32") as caught:
        classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), mixed, batch_size=5)
    assert caught.value.found == "float32 in 2 of 5 crops read together"
    takes_float = OnnxPredictor(write_linear_model(dtype="float32"), ONE_THREAD)
    assert len(classify_crops(takes_float, mixed)[0].probabilities) == 10


def test_no_crops_give_no_predictions(write_linear_model, two_channel_card):
    answer, levels = classify_crops(OnnxPredictor(write_linear_model(), ONE_THREAD), _crops(two_channel_card, count=0))
    assert answer.probabilities.shape == (0, 5)
    assert len(levels) == 0


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"levels": "guess"}])
def test_unknown_options_are_refused(write_linear_model, two_channel_card, options):
    crops = _crops(two_channel_card)
    with pytest.raises(SettingError):
        predict_crops(
            OnnxPredictor(write_linear_model(), ONE_THREAD),
            lambda rows: crops.pixels[rows],
            np.arange(23),
            crops.background,
            crops.scale,
            **options,
        )


@settings(max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1.0, np.nan]), max_size=40), st.integers(1, 9))
def test_batches_hold_every_row_once_and_never_mix_levels(values, batch_size):
    stated = np.array(values, dtype=np.float32).reshape(-1, 1)
    batches = list(_batches_of_equal_levels(stated, batch_size))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(values)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        np.testing.assert_array_equal(stated[batch], np.repeat(stated[batch[:1]], len(batch), axis=0))


def test_entropy_of_certainty_and_of_ignorance():
    p = np.array([[1, 0, 0, 0], [0.25] * 4], dtype=np.float32)
    np.testing.assert_allclose(entropy_nats(p), [0, np.log(4)], atol=1e-6)
