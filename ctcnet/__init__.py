"""ctcnet: classifier for circulating-tumour-cell images. For research use only."""

__version__ = "0.1.0"
