"""Inference with numpy and onnxruntime alone: what an instrument or a script imports."""

from ctcnet.runtime.crop_prediction import classify_crops, predict_crops
from ctcnet.runtime.frame_predictor import FrameEvents, FramePredictor
from ctcnet.runtime.onnx_predictor import OnnxPredictor
from ctcnet.runtime.predictions import Predictions, Predictor
from ctcnet.runtime.session import SessionSettings

__all__ = [
    "FrameEvents",
    "FramePredictor",
    "OnnxPredictor",
    "Predictions",
    "Predictor",
    "SessionSettings",
    "classify_crops",
    "predict_crops",
]
