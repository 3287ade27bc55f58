"""The examples for other languages answer as Python does, crop by crop, on the shipped model."""

import csv
import shutil
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


def test_example_refuses_what_does_not_fit(example, model, tmp_path):
    (tmp_path / "odd.u16").write_bytes(b"\0" * 1001)
    assert "no whole number of crops" in example("classify_crops", model, tmp_path / "odd.u16", exit_code=2)
    assert "usage" in example("classify_crops", model, exit_code=2)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize(
    ("text", "expected"),
    [("60,55.5", "60,55.5"), ("60,nan", "60,NaN"), (None, "NaN,NaN"), ("60,x", ""), ("60,", ""), ("60", "")],
)
def test_levels_that_are_no_numbers_are_not_the_models_own(examples, call, text, expected):
    argument = "undefined" if text is None else repr(text)
    code = (
        f"import {{ readLevels }} from '{examples}/node/levels.mjs'; console.log(readLevels({argument}, 2).join(','))"
    )
    printed = call("node", "--input-type=module", "-e", code, exit_code=0 if expected else 2)
    assert printed.strip() == expected if expected else "not 2 numbers" in printed


def test_python_runner_needs_no_ctcnet(examples):
    source = (examples / "python" / "run_cases.py").read_text()
    imports = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imports - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}
