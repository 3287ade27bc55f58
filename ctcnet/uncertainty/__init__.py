"""What a network does not know: atypicality of crops, computed alike from a checkpoint and in its ONNX graph."""

from ctcnet.uncertainty.atypicality import (
    QUANTILE,
    Atypicality,
    TypicalFeatures,
    atypicality_from_state,
    fit_atypicality,
    typical_features,
)
from ctcnet.uncertainty.crop_statistics import crop_statistics, num_crop_statistics

__all__ = [
    "QUANTILE",
    "Atypicality",
    "TypicalFeatures",
    "atypicality_from_state",
    "crop_statistics",
    "fit_atypicality",
    "num_crop_statistics",
    "typical_features",
]
