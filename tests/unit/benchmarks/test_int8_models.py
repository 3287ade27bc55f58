import pytest
import runtime_versions
from model_graphs import Graphs

pytestmark = pytest.mark.unit


def test_graphs_are_kept_for_the_model_that_they_were_made_from(tmp_path, monkeypatch):
    made = []

    def write(model, panel, folder, *, precision, **size):
        made.append(panel.name)
        for kind in ("crop", "frame"):
            (folder / f"{kind}_{precision}.onnx").write_bytes(bytes(len(made)))
        return Graphs(folder / "crop_int8.onnx", folder / "frame_int8.onnx", f"note {len(made)}")

    model, work = tmp_path / "ctcnet-s", tmp_path / "work"
    model.mkdir()
    monkeypatch.setattr(runtime_versions, "MODELS", model)
    monkeypatch.setattr(runtime_versions, "write_graphs", write)
    (model / "card.json").write_text("{}")
    first = runtime_versions.written_models(["ctc5"], "int8", work)
    assert runtime_versions.written_models(["ctc5"], "int8", work) == first
    (model / "card.json").write_text('{"weights_sha256": "other"}')
    files, notes = runtime_versions.written_models(["ctc5"], "int8", work)
    assert notes == ["note 2"]
    assert [path.read_bytes() for path in files] == [bytes(2)] * 2
    assert made == ["ctc5", "ctc5"]
