"""The examples for other languages find the events of a frame that Python finds, event by event."""

import csv

import numpy as np
import pytest

from ctcnet.export.parity import decision_flips
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.runtime import FramePredictor, Predictions, SessionSettings

pytestmark = pytest.mark.integration

LEVELS = ("60,55,50,52.5,47", "400,120,90,80,60")


@pytest.fixture(scope="module")
def frame_predictor(frame_model) -> FramePredictor:
    return FramePredictor(frame_model, SessionSettings(threads=1))


@pytest.fixture(scope="module")
def frame(frame_predictor) -> np.ndarray:
    card = frame_predictor.card
    return simulated_frame(card.panel, frame_predictor.frame_pixel_size_um, (256, 320), seed=3)


@pytest.mark.parametrize("levels", [(), LEVELS], ids=["levels of the frame", "levels of a cartridge"])
def test_example_finds_the_events_of_python(example, frame_model, frame_predictor, frame, levels, tmp_path):
    frame.astype("<u2").tofile(tmp_path / "frame.u16")
    expected = frame_predictor.predict(frame, *(np.array(level.split(","), np.float32) for level in levels))
    title, found, *lines = example("find_events", frame_model, tmp_path / "frame.u16", "320x256", *levels).splitlines()
    assert "For research use only" in title
    assert found.startswith(f"# {expected.events_found} events")
    rows = list(csv.DictReader(lines))
    assert len(rows) == len(expected) > 15
    classes = frame_predictor.card.labels.classes
    numbers = {name: np.array([row[name] for row in rows], np.float32) for name in ("x_px", "y_px", "diameter_um")}
    for name, values in numbers.items():
        np.testing.assert_allclose(values, getattr(expected, name), atol=0.01)
    kinds = frame_predictor.properties["kinds"].split(",")
    assert [row["kind"] for row in rows] == [kinds[kind] for kind in expected.kind]
    probabilities = np.array([[row[f"p_{name}"] for name in classes] for row in rows], np.float32)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-3)
    assert [row["class"] for row in rows] == [classes[k] for k in probabilities.argmax(axis=1)]
    none = np.empty((len(rows), 0), np.float32)
    flips = decision_flips(
        Predictions(expected.probabilities, expected.unassigned, expected.atypicality, none),
        Predictions(probabilities, np.array([row["unassigned"] == "1" for row in rows]), expected.atypicality, none),
        frame_predictor.card,
    )
    assert not flips.outside.any()


def test_example_refuses_a_frame_of_another_size(example, frame_model, frame, tmp_path):
    frame.astype("<u2").tofile(tmp_path / "frame.u16")
    error = example("find_events", frame_model, tmp_path / "frame.u16", "320x255", exit_code=2)
    assert error.startswith("error:")
    assert "usage" in example("find_events", frame_model, tmp_path / "frame.u16", "320", exit_code=2)
