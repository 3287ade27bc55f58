"""The examples for other languages answer as Python does, crop by crop, on the shipped model."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from ctcnet.export.parity import decision_flips
from ctcnet.runtime import OnnxPredictor, Predictions

pytestmark = pytest.mark.integration

LEVELS = ("60,55,50,52.5,47", "400,120,90,80,60")


@pytest.fixture(scope="session")
def counts_file(crops, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("counts") / "crops.u16"
    crops.astype("<u2").tofile(path)
    return path


@pytest.mark.parametrize("levels", [(), LEVELS], ids=["levels of the model", "levels of a cartridge"])
def test_example_answers_as_python(example, model, counts_file, predictor: OnnxPredictor, crops, levels):
    expected = predictor.predict(crops, *(np.array(level.split(","), np.float32) for level in levels))
    title, *lines = example("classify_crops", model, counts_file, *levels).splitlines()
    assert "For research use only" in title
    rows = list(csv.DictReader(lines))
    classes = predictor.card.labels.classes
    assert [int(row["crop"]) for row in rows] == list(range(len(crops)))
    probabilities = np.array([[row[f"p_{name}"] for name in classes] for row in rows], np.float32)
    unassigned = np.array([row["unassigned"] == "1" for row in rows])
    atypicality = np.array([row["atypicality"] for row in rows], np.float32)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-4)
    np.testing.assert_allclose(atypicality, expected.atypicality, rtol=1e-3)
    assert [row["class"] for row in rows] == [classes[k] for k in probabilities.argmax(axis=1)]
    found = Predictions(probabilities, unassigned, atypicality, expected.embedding)
    assert not decision_flips(expected, found, predictor.card).outside.any()
    assert len(set(expected.probabilities.argmax(axis=1))) > 1, "crops of one class would prove nothing"


@pytest.mark.parametrize("size", [1001, 2 * 5 * 64 * 64 + 1, 1000])
def test_example_refuses_what_does_not_fit(example, model, tmp_path, size):
    (tmp_path / "odd.u16").write_bytes(b"\0" * size)
    assert "no whole number of" in example("classify_crops", model, tmp_path / "odd.u16", exit_code=2)
    assert "usage" in example("classify_crops", model, exit_code=2)


def test_example_refuses_wrong_levels(example, model, counts_file):
    background, scale = LEVELS
    error = example("classify_crops", model, counts_file, background, "400,0,90,80,60", exit_code=2)
    assert error.startswith("error: scale 400,0,90,80,60 is not 5 numbers")
    error = example("classify_crops", model, counts_file, background + ",", scale, exit_code=2)
    assert error.startswith(f"error: background {background}, is not 5 numbers")


def test_python_runner_needs_no_ctcnet(examples):
    source = (examples / "python" / "run_cases.py").read_text()
    imports = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imports - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}
