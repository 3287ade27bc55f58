"""Labelled crops from manifests, folders and packed stores: numpy, no torch."""

from ctcnet.crops.labelled_crops import CropSource, LabelledCrops
from ctcnet.crops.packing import common_pixel_size_um, pack_crops
from ctcnet.crops.reading import read_crops

__all__ = ["CropSource", "LabelledCrops", "common_pixel_size_um", "pack_crops", "read_crops"]
