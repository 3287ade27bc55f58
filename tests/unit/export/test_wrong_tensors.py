"""What a crop graph answers to tensors it was not made for, as models/README.md says: by OnnxPredictor and bare."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from ctcnet.errors import CtcnetError, ModelPanelError, SettingError
from ctcnet.export import export_predictor
from ctcnet.runtime import OnnxPredictor, Predictions, SessionSettings
from ctcnet.runtime.onnx_predictor import OUTPUTS

pytestmark = pytest.mark.unit

NAN, OTHER = np.full(2, np.nan, np.float32), np.array([50, 400], np.float32)
CROPS = np.full((3, 2, 8, 8), 300, np.float32)


class _Bare:
    """The graph as a program in another language runs it: onnxruntime alone."""

    def __init__(self, path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.session = onnxruntime.InferenceSession(str(path), options)

    def predict(self, crops, background=NAN, scale=NAN) -> Predictions:
        feed = {"crops": crops, "background": background, "scale": scale}
        return Predictions(*self.session.run(list(OUTPUTS), feed))


@pytest.fixture(scope="module")
def models(make_predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    export_predictor(make_predictor(uncertain=True), path, input_dtype="float32")
    return OnnxPredictor(path, SessionSettings(threads=1)), _Bare(path)


WRONG = {
    "64-bit pixels": ((CROPS.astype(np.float64), NAN, NAN), SettingError),
    "signed pixels": ((CROPS.astype(np.int16), NAN, NAN), SettingError),
    "fewer channels": ((CROPS[:, :1], NAN, NAN), ModelPanelError),
    "more channels": ((np.concatenate([CROPS, CROPS], axis=1), NAN, NAN), ModelPanelError),
    "smaller crops": ((CROPS[:, :, :4, :4], NAN, NAN), SettingError),
    "one crop without its axis": ((CROPS[0], NAN, NAN), SettingError),
    "levels of too few channels": ((CROPS, NAN[:1], NAN), SettingError),
    "levels as a table": ((CROPS, NAN, np.tile(NAN, (3, 1))), SettingError),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_type_or_shape_is_an_error_in_both(models, name):
    predictor, bare = models
    tensors, error = WRONG[name]
    with pytest.raises(error):
        predictor.predict(*tensors)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        bare.predict(*tensors)


ANSWERED = {
    "no crops": CROPS[:0],
    "zeros": 0 * CROPS,
    "saturated": 0 * CROPS + 4095,
    "above the bit depth": 0 * CROPS + 65535,
    "negative": -CROPS,
    "no number in a crop": np.where(np.arange(3)[:, None, None, None] == 1, np.nan, CROPS),
    "infinity in a crop": np.where(np.arange(3)[:, None, None, None] == 1, np.inf, CROPS),
}


@pytest.mark.parametrize("name", ANSWERED)
@pytest.mark.parametrize("levels", [(NAN, NAN), (OTHER, OTHER), (NAN, OTHER)])
def test_any_pixels_of_the_right_type_are_answered_alike(models, name, levels):
    predictor, bare = models
    crops = ANSWERED[name].astype(np.float32)
    answer, other = predictor.predict(crops, *levels), bare.predict(crops, *levels)
    for found, expected in zip(answer, other, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert answer.probabilities.shape == (len(crops), 5)
    numbers = np.isfinite(crops).all(axis=(1, 2, 3))
    np.testing.assert_allclose(answer.probabilities[numbers].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(answer.probabilities[~numbers]).all()
    assert answer.unassigned[~numbers].all()


@pytest.mark.parametrize(
    ("background", "scale"), [(NAN, 0 * OTHER), (NAN, -OTHER), (OTHER * np.inf, NAN), (NAN, OTHER * np.inf)]
)
def test_impossible_levels_are_an_error_in_python_and_never_stop_the_graph(models, background, scale):
    predictor, bare = models
    with pytest.raises(CtcnetError):
        predictor.predict(CROPS, background, scale)
    answer = bare.predict(CROPS, background, scale)
    assert answer.probabilities.shape == (3, 5)
    assert answer.unassigned[np.isnan(answer.probabilities).any(axis=1)].all()


def test_whole_numbers_of_8_and_16_bit_are_counts_in_python(models):
    predictor, bare = models
    expected = bare.predict(CROPS // 4).probabilities
    for dtype in (np.uint8, np.uint16):
        np.testing.assert_array_equal(predictor.predict((CROPS // 4).astype(dtype)).probabilities, expected)
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            bare.predict((CROPS // 4).astype(dtype))
