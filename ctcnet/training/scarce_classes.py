"""Classes with so few examples that something cannot be measured."""

from __future__ import annotations

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.data.partition import PARTS


def scarce_class_warnings(data: CropDataModule) -> tuple[str, ...]:
    """Sentences on classes with a single example, in all or in training, and what cannot be measured of them."""
    labels = data.crops.require_targets().argmax(axis=1)
    warnings = []
    for place, name in enumerate(data.schema.classes):
        counts = {part: int((labels[data.rows_of(part)] == place).sum()) for part in PARTS}
        if sum(counts.values()) == 1 or counts["train"] == 1:
            warnings.append(_warning(name, counts))
    return tuple(warnings)


def _warning(name: str, counts: dict[str, int]) -> str:
    alone = sum(counts.values()) == 1
    start = f"class '{name}' has one example" + ("" if alone else " to train on")
    unmeasured = [part for part in ("val", "test") if not counts[part]]
    effects = ["how its crops vary from cell to cell cannot be learned"]
    if "val" in unmeasured:
        effects.append(
            "with none in validation neither its recall, precision and F1 nor its calibration can be measured"
        )
    if "test" in unmeasured:
        effects.append("with none in the test part a test says nothing of it")
    return f"{start}: {'; '.join(effects)}"
