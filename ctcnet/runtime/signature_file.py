"""The file beside a model that holds its hash and a signature: `MODEL.onnx.sig`, a small JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from ctcnet.errors import ModelFileError

ALGORITHM = "ed25519"
MOST_BYTES = 10_000


@dataclass(frozen=True)
class SignatureFile:
    """What a signature file says.

    Attributes:
        sha256: hash of the model's file, hexadecimal.
        key_id: which key signed it: the first 16 hexadecimal digits of the SHA-256 of the raw public key.
        signature: over the bytes of the model's file, base64.
        algorithm: `ALGORITHM`.
    """

    sha256: str
    key_id: str
    signature: str
    algorithm: str = ALGORITHM

    def to_text(self) -> str:
        """JSON of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def signature_bytes(self) -> bytes:
        """The 64 bytes of the signature."""
        return base64.b64decode(self.signature)


def signature_path(model: str | Path) -> Path:
    """Where the signature of a model lies."""
    model = Path(model)
    return model.with_name(model.name + ".sig")


def read_signature(model: str | Path) -> SignatureFile | None:
    """The signature file beside a model; None where there is none.

    Raises:
        ModelFileError: it cannot be read or is malformed.
    """
    path = signature_path(model)
    try:
        if not path.exists():
            return None
        with path.open("rb") as stream:
            content = json.loads(stream.read(MOST_BYTES).decode("utf-8"))
        found = SignatureFile(**content)
        well_formed = (
            all(isinstance(value, str) for value in asdict(found).values())
            and found.algorithm == ALGORITHM
            and re.fullmatch("[0-9a-f]{64}", found.sha256) is not None
            and len(base64.b64decode(found.signature, validate=True)) == 64
        )
    except (OSError, TypeError, ValueError, RecursionError, binascii.Error) as cause:
        raise _malformed(path) from cause
    if not well_formed:
        raise _malformed(path)
    return found


def stated_sha256(model: str | Path) -> str | None:
    """Hash in the signature file beside a model; None where there is none. Raises as `read_signature`."""
    found = read_signature(model)
    return None if found is None else found.sha256


def _malformed(path: Path) -> ModelFileError:
    return ModelFileError(
        "is no signature file",
        where=path,
        expected=f"JSON with sha256, key_id, signature and algorithm '{ALGORITHM}', as ctcnet sign writes it",
        fix="sign the model again, or delete the file to use the model unsigned",
    )
