"""Inference with numpy and onnxruntime alone: what an instrument or a script imports."""

from ctcnet.runtime.crop_prediction import classify_crops, predict_crops
from ctcnet.runtime.onnx_predictor import OnnxPredictor
from ctcnet.runtime.predictions import Predictions, Predictor

__all__ = ["OnnxPredictor", "Predictions", "Predictor", "classify_crops", "predict_crops"]
