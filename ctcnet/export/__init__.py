"""Export of checkpoints to ONNX, with parity checked before a file is kept. Needs the extra 'train'."""

from ctcnet.export.export import ExportResult, export_predictor
from ctcnet.export.parity import Parity
from ctcnet.export.precision import Reduction

__all__ = ["ExportResult", "Parity", "Reduction", "export_predictor"]
