"""Models named on the command line: ONNX files, checkpoints, run folders and shipped models."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctcnet.crops.source_kind import is_store
from ctcnet.crops.store import read_header
from ctcnet.errors import ModelFileError, ModelPanelError, SettingError
from ctcnet.extras import import_extra
from ctcnet.model_card import ModelCard
from ctcnet.panel import Panel, load_panel
from ctcnet.resources import resource_dir
from ctcnet.runtime import OnnxPredictor, Predictor, SessionSettings
from ctcnet.runtime.session import check_threads, usable_cpus
from ctcnet.training.shipped_weights import (
    WEIGHTS_FILE,
    find_shipped,
    read_shipped,
    shadow_note,
    shipped_words,
    specialised_sha256,
)

if TYPE_CHECKING:
    from ctcnet.export.crop_graph import ExportablePredictor

DEVICES: tuple[str, ...] = ("auto", "cpu", "cuda")
BEST_CHECKPOINT = "best.ckpt"


def load_predictor(
    path: str | Path, device: str = "auto", threads: int | None = None, panel: Panel | None = None
) -> Predictor:
    """Load a model.

    Args:
        path: an ONNX file, a checkpoint (.ckpt), a run folder, which stands for its best.ckpt, or a shipped model.
        device: 'cpu', 'cuda' or 'auto'. 'auto' is CUDA where the runtime offers it and a device is there.
        threads: threads of the CPU. None: as many as CPUs for an ONNX file, torch's choice for the others. An ONNX file
            on the CPU answers so many batches side by side, each on one thread; in others they share a call.
        panel: panel that a shipped model is to serve; models of other kinds have their own.

    Raises:
        ModelFileError: no such file, another kind of file, or one that cannot be loaded.
        ModelPanelError: a shipped model without a panel, or with one that it cannot serve.
        MissingExtraError: a checkpoint or a shipped model without the extra 'train'.
        SettingError: unknown device, or an impossible number of threads.
    """
    if device not in DEVICES:
        raise SettingError(f"unknown device '{device}'", expected=f"one of: {', '.join(DEVICES)}")
    check_threads(threads)
    path = find_model(path)
    if path.suffix == ".onnx":
        return _load_onnx(path, device, threads)
    if is_shipped(path):
        return load_shipped(path, panel, device, threads)
    return load_checkpoint(path, device, threads)


def find_model(path: str | Path) -> Path:
    """Path of the model's file: itself, the best checkpoint of a run folder, or the weights of a shipped model.

    Args:
        path: as the user typed it: a bare name means the shipped model even where a folder has it too, which a note
            says, and ./name the folder.

    Raises:
        ModelFileError: no such file or name, or of a kind that is no model.
    """
    text, path = str(path), Path(path)
    files = f"an ONNX file (.onnx), a checkpoint (.ckpt) or a run folder with {BEST_CHECKPOINT}"
    accepted = f"{files}, or {shipped_words()}"
    try:
        shipped = find_shipped(text, files)
        is_folder, note = path.is_dir(), shadow_note(text)
    except OSError as cause:
        raise ModelFileError(f"cannot be looked at ({cause.strerror})", where=path, fix="check the path") from cause
    if note:
        print(f"note: {note}")
    if shipped is not None:
        return shipped / WEIGHTS_FILE
    if is_folder:
        if not (path / BEST_CHECKPOINT).is_file():
            raise ModelFileError(f"folder holds no {BEST_CHECKPOINT}", where=path, expected=accepted)
        return path / BEST_CHECKPOINT
    if path.suffix not in (".onnx", ".ckpt"):
        raise ModelFileError("is no model", where=path, expected=accepted, found=path.suffix or "no file ending")
    if not path.is_file():
        raise ModelFileError("no such file", where=path, expected=accepted, fix="check the path")
    return path


def find_source(path: str | Path) -> Path:
    """Path of a model that files are made from, as `find_model` gives it.

    Raises:
        ModelFileError: it is an ONNX file; also as in `find_model`.
    """
    found = find_model(path)
    if found.suffix == ".onnx":
        raise ModelFileError(
            "is no checkpoint",
            where=found,
            expected="a .ckpt file, a run folder or the name of a shipped model",
            fix="give the model that the ONNX file was made from",
        )
    return found


def onnx_file(path: Path) -> Path:
    """The path of an ONNX file, for verbs that take nothing else.

    Raises:
        ModelFileError: no such file, or another ending.
    """
    accepted = "a .onnx file that ctcnet export wrote"
    try:
        is_there, is_file = path.exists(), path.is_file()
    except OSError as cause:
        raise ModelFileError(f"cannot be looked at ({cause.strerror})", where=path, fix="check the path") from cause
    if path.suffix == ".onnx" and not is_there:
        raise ModelFileError("no such file", where=path, expected=accepted, fix="check the path")
    if path.suffix != ".onnx" or not is_file:
        raise ModelFileError(
            "is no ONNX file", where=path, expected=accepted, fix="make one: ctcnet export MODEL -o MODEL.onnx"
        )
    return path


def is_shipped(path: Path) -> bool:
    """Whether a file that `find_model` found holds the weights of a shipped model."""
    return path.name == WEIGHTS_FILE


def model_sha256(path: Path, card: ModelCard) -> str:
    """Hash by which results name their model: of its file, and of the panel and the calibration of a shipped one.

    Args:
        path: as `find_model` found it.
        card: of the loaded model.
    """
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    if not is_shipped(path):
        return digest
    content = card.to_dict()
    fitted = [content.get(name) for name in ("temperature", "ctc_log_odds", "conformal")]
    calibration = json.dumps([specialised_sha256(digest, card.panel), *fitted])
    return sha256(calibration.encode()).hexdigest()


def load_shipped(
    path: Path, panel: Panel | None, device: str = "cpu", threads: int | None = None
) -> ExportablePredictor:
    """Specialise a shipped model to a panel and print what it cannot tell apart there.

    Args:
        path: its weights, as `find_model` found them.
        panel: channels of the images.
        device, threads: as in `load_predictor`.

    Raises: as `load_predictor`.
    """
    if panel is None:
        raise panel_is_needed(path)
    torch = import_extra("torch", "train")
    import_extra("safetensors", "train")
    specialise = import_extra("ctcnet.pretrained.specialise", "train").specialise
    predictor = specialise(read_shipped(path.parent), panel, _torch_device(torch, device, threads))
    for limit in predictor.card.limits:
        print(f"note: {limit}")
    return predictor


def panel_is_needed(path: Path) -> ModelPanelError:
    """The error for a shipped model without a panel."""
    names = sorted(file.stem for file in (resource_dir("configs") / "panels").glob("*.yaml"))
    return ModelPanelError(
        "serves any panel, and needs to know which one",
        where=f"shipped model '{path.parent.name}'",
        expected=f"--panel with the path of a .yaml file, or one of: {', '.join(names)}",
        fix="name the panel that the images were stained with: --panel",
    )


def served_panel(path: Path, name: str | None, source: str | Path) -> Panel | None:
    """Panel that a shipped model is to serve: the one named, or else a store's own; None for models of other kinds.

    Args:
        path: model, as `find_model` found it.
        name: panel named by the user.
        source: crops to be classified.

    Raises:
        ModelPanelError: there is neither.
    """
    if not is_shipped(path):
        return None
    if name is not None:
        return load_panel(name)
    if not is_store(Path(source)):
        raise panel_is_needed(path)
    return read_header(Path(source)).panel


def load_checkpoint(path: Path, device: str = "cpu", threads: int | None = None) -> ExportablePredictor:
    """Load a checkpoint with torch; arguments and errors as in `load_predictor`."""
    torch = import_extra("torch", "train")
    checkpoint = import_extra("ctcnet.training.checkpoint", "train")
    return checkpoint.load_classifier(path, _torch_device(torch, device, threads))


def _torch_device(torch: Any, device: str, threads: int | None) -> str:
    """Device that 'auto' stands for; sets torch's threads.

    Raises:
        SettingError: CUDA is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device 'cuda' is not to be had", found="no CUDA device", fix="use --device cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    return device


def panel_of_images(name: str | None, source: str | Path, card: ModelCard) -> Panel | None:
    """The panel named, or else a store's own (None), or else the model's.

    The pixel size that the model's panel fixes is that of its own platform and says nothing of these images.
    """
    if name is not None:
        return load_panel(name)
    return None if is_store(Path(source)) else replace(card.panel, pixel_size_um=None)


def _load_onnx(path: Path, device: str, threads: int | None) -> Predictor:
    """Load an ONNX file; a runtime that offers CUDA where there is no device does not answer, and 'auto' is the CPU."""
    import onnxruntime

    on_cpu = SessionSettings("cpu", threads=1, calls_at_once=threads or usable_cpus())
    if device == "cpu":
        return OnnxPredictor(path, on_cpu)
    if device != "auto":
        return OnnxPredictor(path, SessionSettings(device, threads))
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return OnnxPredictor(path, on_cpu)
    try:
        return OnnxPredictor(path, SessionSettings("cuda", threads))
    except ModelFileError as cause:
        predictor = OnnxPredictor(path, on_cpu)  # fails too where it is the file's fault
        print(f"note: onnxruntime offers CUDA and cannot use it, so that the CPU is used ({cause.found})")
        return predictor
