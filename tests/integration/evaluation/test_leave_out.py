from dataclasses import replace

import pytest
from stain_model import StainModel, write_crops

from ctcnet.crops import read_crops
from ctcnet.errors import SettingError, StatisticsError
from ctcnet.evaluation.evaluation_run import EvaluationSettings, write_evaluation
from ctcnet.evaluation.leave_out import evaluate_left_out

pytestmark = pytest.mark.integration


def _evaluate(folder, settings=EvaluationSettings(resamples=20), change=lambda crops: crops):  # noqa: B008
    model = StainModel()
    schema, source = model.card.labels, write_crops(folder)
    crops = change(read_crops(source, model.card.panel, schema, labelled=True))
    asked = []

    def train(batch):
        asked.append(batch)
        return StainModel(), f"sha of {batch}"

    evaluation = evaluate_left_out(
        train, crops, schema, settings, card=model.card, source=source, model_sha256="0" * 64
    )
    return evaluation, asked


def test_each_batch_is_judged_by_its_own_model_and_pooled(tmp_path):
    evaluation, asked = _evaluate(tmp_path)
    metrics = evaluation.metrics
    assert asked == ["site-A", "site-B"]
    assert metrics["crops"] == 120
    assert [entry["sha256"] for entry in metrics["leave_out"]["models"]] == ["sha of site-A", "sha of site-B"]
    assert sum(row["crops"] for row in metrics["per_batch"].values()) == 120
    assert list(evaluation.scored.path) == list(evaluation.crops.path)
    out = tmp_path / "out"
    out.mkdir()
    write_evaluation(evaluation, out)
    assert "Leave-one-out" in (out / "report.html").read_text()


def test_one_batch_or_none_cannot_be_left_out(tmp_path):
    with pytest.raises(StatisticsError, match="two batches"):
        _evaluate(tmp_path, change=lambda crops: crops.subset(crops.batch == "site-A"))
    with pytest.raises(StatisticsError, match="not stated"):
        _evaluate(tmp_path, change=lambda crops: replace(crops, batch=crops.cartridge * 0))


def test_a_split_contradicts_leaving_out(tmp_path):
    with pytest.raises(SettingError, match="--split"):
        _evaluate(tmp_path, EvaluationSettings(split="test"))
