"""The folder of a shipped model; it is read and written where training starts from it too."""

from ctcnet.training.shipped_weights import (
    CARD_FILE,
    CARD_FORMAT,
    MODES,
    WEIGHTS_FILE,
    ShippedCard,
    ShippedModel,
    find_shipped,
    read_shipped,
    shipped_names,
    specialised_sha256,
    write_shipped,
)

__all__ = [
    "CARD_FILE",
    "CARD_FORMAT",
    "MODES",
    "WEIGHTS_FILE",
    "ShippedCard",
    "ShippedModel",
    "find_shipped",
    "read_shipped",
    "shipped_names",
    "specialised_sha256",
    "write_shipped",
]
