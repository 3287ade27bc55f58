"""Models named on the command line: ONNX files, checkpoints and run folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ctcnet.crops.source_kind import is_store
from ctcnet.errors import ModelFileError, SettingError
from ctcnet.extras import import_extra
from ctcnet.model_card import ModelCard
from ctcnet.panel import Panel, load_panel
from ctcnet.runtime import OnnxPredictor, Predictor
from ctcnet.runtime.onnx_predictor import check_threads

DEVICES: tuple[str, ...] = ("auto", "cpu", "cuda")
BEST_CHECKPOINT = "best.ckpt"


def load_predictor(path: str | Path, device: str = "auto", threads: int | None = None) -> Predictor:
    """Load a model.

    Args:
        path: an ONNX file, a checkpoint (.ckpt), or a run folder, which stands for its best.ckpt.
        device: 'cpu', 'cuda' or 'auto'. 'auto' is CUDA where the runtime offers it and a device is there.
        threads: threads of the CPU; None leaves the choice to the runtime.

    Raises:
        ModelFileError: no such file, another kind of file, or one that cannot be loaded.
        MissingExtraError: a checkpoint without the extra 'train'.
        SettingError: unknown device, or an impossible number of threads.
    """
    if device not in DEVICES:
        raise SettingError(f"unknown device '{device}'", expected=f"one of: {', '.join(DEVICES)}")
    check_threads(threads)
    path = find_model(path)
    if path.suffix == ".onnx":
        return OnnxPredictor(path, provider=_onnx_provider(device), threads=threads)
    return load_checkpoint(path, device, threads)


def find_model(path: str | Path) -> Path:
    """Path of the model's file: itself, or the best checkpoint of a run folder.

    Raises:
        ModelFileError: no such file, or of a kind that is no model.
    """
    path = Path(path)
    accepted = f"an ONNX file (.onnx), a checkpoint (.ckpt) or a run folder with {BEST_CHECKPOINT}"
    try:
        is_folder = path.is_dir()
    except OSError as cause:
        raise ModelFileError(f"cannot be looked at ({cause.strerror})", where=path, fix="check the path") from cause
    if is_folder:
        if not (path / BEST_CHECKPOINT).is_file():
            raise ModelFileError(f"folder holds no {BEST_CHECKPOINT}", where=path, expected=accepted)
        return path / BEST_CHECKPOINT
    if path.suffix not in (".onnx", ".ckpt"):
        raise ModelFileError("is no model", where=path, expected=accepted, found=path.suffix or "no file ending")
    if not path.is_file():
        raise ModelFileError("no such file", where=path, expected=accepted, fix="check the path")
    return path


def load_checkpoint(path: Path, device: str = "cpu", threads: int | None = None) -> Predictor:
    """Load a checkpoint with torch; arguments and errors as in `load_predictor`."""
    torch = import_extra("torch", "train")
    checkpoint = import_extra("ctcnet.training.checkpoint", "train")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device 'cuda' is not to be had", found="no CUDA device", fix="use --device cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    return checkpoint.load_classifier(path, device)


def panel_of_images(name: str | None, source: str | Path, card: ModelCard) -> Panel | None:
    """The panel named, or else a store's own (None), or else the model's.

    The pixel size that the model's panel fixes is that of its own platform and says nothing of these images.
    """
    if name is not None:
        return load_panel(name)
    return None if is_store(Path(source)) else replace(card.panel, pixel_size_um=None)


def _onnx_provider(device: str) -> str:
    if device != "auto":
        return device
    import onnxruntime

    return "cuda" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"
