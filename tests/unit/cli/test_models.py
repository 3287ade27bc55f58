import pytest

from ctcnet.cli.models import find_model, load_predictor, panel_of_images
from ctcnet.errors import ModelFileError, SettingError
from ctcnet.runtime import OnnxPredictor
from ctcnet.runtime.session import usable_cpus

pytestmark = pytest.mark.unit


def test_run_folder_stands_for_its_best_checkpoint(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"x")
    assert find_model(tmp_path) == tmp_path / "best.ckpt"


def test_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"best\.ckpt"):
        find_model(tmp_path)


@pytest.mark.parametrize("name", ["model.pt", "model", "model.onnx", "model.ckpt"])
def test_missing_files_and_other_endings_list_what_is_accepted(tmp_path, name):
    if name in ("model.pt", "model"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"\.onnx.*\.ckpt.*run folder"):
        find_model(tmp_path / name)


def test_onnx_file_is_run_by_onnxruntime(write_linear_model):
    assert isinstance(load_predictor(write_linear_model(), "cpu", threads=1), OnnxPredictor)
    assert load_predictor(write_linear_model(), "cpu", threads=3).calls_at_once == 3
    assert load_predictor(write_linear_model(), "cpu").calls_at_once == usable_cpus()


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"threads": 0}])
def test_unknown_options_are_refused(write_linear_model, options):
    with pytest.raises(SettingError):
        load_predictor(write_linear_model(), **options)


def test_store_has_its_own_panel_and_other_sources_take_the_models(write_linear_model, tmp_path):
    card = load_predictor(write_linear_model(), "cpu").card
    (tmp_path / "store.json").write_text("{}")
    assert panel_of_images(None, tmp_path, card) is None
    taken = panel_of_images(None, tmp_path / "manifest.csv", card)
    assert taken is not None
    assert taken.channels == card.panel.channels
    assert taken.pixel_size_um is None  # that of the model's platform says nothing of these images
    named = panel_of_images("sarcoma", tmp_path, card)
    assert named is not None
    assert named.name == "sarcoma"


def test_auto_is_the_cpu_where_cuda_is_offered_and_no_device_is_there(write_linear_model, monkeypatch, capsys):
    import onnxruntime

    real = onnxruntime.InferenceSession

    def without_a_device(content, options, providers, **others):
        if providers == ["CUDAExecutionProvider"]:
            raise RuntimeError("no CUDA-capable device is detected")
        return real(content, options, providers=providers, **others)

    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_a_device)
    assert isinstance(load_predictor(write_linear_model(), "auto", threads=1), OnnxPredictor)
    assert "the CPU is used (no CUDA-capable device is detected)" in capsys.readouterr().out
    with pytest.raises(ModelFileError, match="no CUDA-capable device"):
        load_predictor(write_linear_model(), "cuda", threads=1)
