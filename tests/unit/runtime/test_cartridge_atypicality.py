import io
import zipfile
from base64 import b64decode, b64encode

import numpy as np
import pytest

from ctcnet.errors import ModelFileError, StatisticsError
from ctcnet.labels import LabelSchema, load_schema
from ctcnet.runtime.cartridge_atypicality import (
    called_leukocyte,
    cartridge_atypicality,
    cartridge_features,
    fit_cartridges,
    reference_from_text,
)

pytestmark = pytest.mark.unit

WIDTH = 40


def _cartridge(rng: np.random.Generator, shift: float = 0.0, events: int = 250) -> np.ndarray:
    """Embeddings that differ between cartridges in three ways, and shifted in a fourth."""
    own = np.zeros(WIDTH)
    own[:3] = 0.5 * rng.normal(size=3)
    own[5] = shift
    return np.maximum(1.0 + own + 0.5 * rng.normal(size=(events, WIDTH)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    return fit_cartridges([cartridge_features(_cartridge(rng), np.ones(250, bool))[0] for _ in range(100)])


def test_known_cartridges_are_typical_and_shifted_ones_are_not(reference):
    rng = np.random.default_rng(1)
    all_of_them = np.ones(250, bool)
    typical = [cartridge_atypicality(reference, _cartridge(rng), all_of_them) for _ in range(100)]
    assert np.mean([answer.score > 1 for answer in typical]) < 0.06
    assert all(answer.of_leukocytes and answer.events == 250 for answer in typical)
    assert all(cartridge_atypicality(reference, _cartridge(rng, 0.5), all_of_them).score > 1 for _ in range(20))


def test_one_odd_cartridge_does_not_make_all_others_typical(reference):
    rng = np.random.default_rng(0)
    known = [cartridge_features(_cartridge(rng), np.ones(250, bool))[0] for _ in range(100)]
    odd = cartridge_features(_cartridge(rng, 40.0), np.ones(250, bool))[0]
    with_odd = fit_cartridges([*known, odd])
    assert float(with_odd.fit.limit) < 1.3 * float(reference.fit.limit)


def test_a_feature_that_was_0_in_all_known_cartridges_makes_none_atypical_by_a_trace(reference):
    def silent(events: np.ndarray, trace: float) -> np.ndarray:
        changed = events.copy()
        changed[:, -1] = trace * (np.arange(len(events)) < 5)
        return changed

    rng = np.random.default_rng(3)
    every = np.ones(250, bool)
    known = fit_cartridges([cartridge_features(silent(_cartridge(rng), 0.0), every)[0] for _ in range(100)])
    new = _cartridge(rng)
    score = cartridge_atypicality(known, silent(new, 0.0), every).score
    assert cartridge_atypicality(known, silent(new, 0.005), every).score < 1.5 * score
    assert cartridge_atypicality(known, silent(new, 5.0), every).score > 2 * score


def test_too_few_leukocytes_give_way_to_all_events_and_too_few_events_to_no_answer(reference):
    rng = np.random.default_rng(2)
    few = np.arange(250) < 199
    answer = cartridge_atypicality(reference, _cartridge(rng), few)
    assert (answer.events, answer.of_leukocytes) == (250, False)
    assert np.isfinite(answer.score)
    assert np.isnan(cartridge_atypicality(reference, _cartridge(rng)[:199], few[:199]).score)


def test_reference_survives_as_text(reference):
    again = reference_from_text(reference.to_text(), WIDTH, "m.onnx")
    assert again.cartridges == 100
    for one, other in zip(reference.fit, again.fit, strict=True):
        np.testing.assert_array_equal(one, other)


def _array_alone() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    return stream.getvalue()


def test_compressed_arrays_and_broken_headers_are_refused(reference):
    stream = io.BytesIO()
    np.savez_compressed(stream, cartridges=np.array(100), **reference.fit._asdict())
    with pytest.raises(ModelFileError, match="compressed"):
        reference_from_text(b64encode(stream.getvalue()).decode(), WIDTH, "m.onnx")
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(b64decode(reference.to_text()))) as sound, zipfile.ZipFile(stream, "w") as broken:
        for name in sound.namelist():
            broken.writestr(name, sound.read(name).replace(b"'shape': (", b"'shape':(("))  # ends within a bracket
    with pytest.raises(ModelFileError, match="damaged"):
        reference_from_text(b64encode(stream.getvalue()).decode(), WIDTH, "m.onnx")


@pytest.mark.parametrize(
    "text",
    ["no base64!", "AAAA", "", *(b64encode(raw).decode() for raw in (b"PK\x03\x04 and no archive", _array_alone()))],
)
def test_damaged_text_is_refused(text):
    with pytest.raises(ModelFileError, match="damaged"):
        reference_from_text(text, WIDTH, "m.onnx")


def test_reference_that_divides_by_nothing_is_refused(reference):
    zero = reference._replace(fit=reference.fit._replace(limit=np.zeros((), np.float32)))
    with pytest.raises(ModelFileError, match="damaged"):
        reference_from_text(zero.to_text(), WIDTH, "m.onnx")


def test_reference_of_another_model_is_refused(reference):
    with pytest.raises(ModelFileError, match="another model"):
        reference_from_text(reference.to_text(), WIDTH + 1, "m.onnx")


def test_few_cartridges_are_no_reference():
    with pytest.raises(StatisticsError, match="30 or more"):
        fit_cartridges([np.zeros(WIDTH)] * 29)
    with pytest.raises(StatisticsError, match="30 or more"):
        fit_cartridges([])


def test_called_leukocyte_is_the_likeliest_class():
    p = np.array([[0.1, 0.5, 0.4, 0, 0], [0.5, 0.1, 0.4, 0, 0]])
    np.testing.assert_array_equal(called_leukocyte(p, load_schema("five_class")), [True, False])
    assert not called_leukocyte(p, LabelSchema("five", tuple("abcde"))).any()
