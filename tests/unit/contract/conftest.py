"""An exported file without a training: a linear model with everything that export writes into a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from file_edits import rewrite

from ctcnet.model_card import ModelCard


@pytest.fixture
def exported(write_linear_model: Callable[..., Path], two_channel_card: ModelCard) -> Path:
    """Path of the file."""
    from ctcnet.export.golden_crops import golden_sample
    from ctcnet.export.onnx_file import metadata
    from ctcnet.runtime import OnnxPredictor

    path = write_linear_model()
    sample = golden_sample(OnnxPredictor(path), np.dtype(np.uint16), 1e-4)
    properties = metadata(two_channel_card, "crop", 18, "uint16", sample.to_text())
    return rewrite(path, lambda model: onnx.helper.set_model_props(model, properties))
