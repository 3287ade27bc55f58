"""Ed25519 signatures of model files, detached, by the library cryptography (extra 'sign')."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctcnet.errors import ContractError, OutputError, SettingError
from ctcnet.extras import import_extra
from ctcnet.output import new_output_file
from ctcnet.runtime.signature_file import SignatureFile, read_signature, signature_path

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def new_key_pair(name: str | Path) -> tuple[Path, Path]:
    """Make a key pair: `<name>.pem`, private, readable by its owner alone, and `<name>.pub.pem`, to be given away.

    Both are written or, where one cannot be, none is left.

    Raises:
        SettingError: the name is empty, or that of a folder.
        OutputError: one of the files exists already, which is never replaced, or cannot be written.
        MissingExtraError: without the extra 'sign'.
    """
    ed25519, serialization = _ed25519(), _serialization()
    if not os.path.basename(name):
        raise SettingError("a pair of keys needs a name", where="--new-key", found=f"'{name}'")
    private_path, public_path = Path(f"{name}.pem"), Path(f"{name}.pub.pem")
    for path in (private_path, public_path):
        if os.path.lexists(path):
            raise OutputError("exists already, and keys are never replaced", where=path, fix="choose another name")
    key = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    with ExitStack() as undo:
        _write_new(public_path, public, 0o644, undo)
        _write_new(private_path, private, 0o600, undo)
        undo.pop_all()
    return private_path, public_path


def sign(model: Path, content: bytes, key: Ed25519PrivateKey) -> SignatureFile:
    """Sign the bytes of a model's file and write the signature beside it, in place of an older one."""
    found = SignatureFile(
        sha256(content).hexdigest(), key_id(key.public_key()), base64.b64encode(key.sign(content)).decode("ascii")
    )
    with new_output_file(signature_path(model), overwrite=True) as part:
        part.write_text(found.to_text(), encoding="utf-8")
    return found


def check_signature(model: Path, content: bytes, public_key: Ed25519PublicKey | None) -> str:
    """What the signature of a model's file says, in words.

    Args:
        model: the file.
        content: its bytes.
        public_key: of whoever must have signed it; without, a signature's hash alone is compared.

    Raises:
        ModelFileError: the signature file is malformed.
        ContractError: another hash, or with a key: no signature, one by another key, or of other bytes.
    """
    found = read_signature(model)
    if found is None:
        if public_key is None:
            return "none"
        raise _refused(model, "is not signed", signature_path(model).name, "none", "sign it with ctcnet sign")
    digest = sha256(content).hexdigest()
    if digest != found.sha256:
        raise _refused(model, "was changed after it was signed", found.sha256, digest, "copy the file again")
    if public_key is None:
        return f"sha256 as signed by the key {found.key_id}; whose that is was not checked: --key"
    if found.key_id != key_id(public_key):
        raise _refused(
            model, "was signed by another key", key_id(public_key), found.key_id, "ask whoever made the file for theirs"
        )
    if not _is_valid(found, content, public_key):
        raise _refused(model, "has a signature that its key did not make", found.key_id, "another", "copy both again")
    return f"valid, by the key {found.key_id}"


def key_id(public_key: Ed25519PublicKey) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the raw public key."""
    return sha256(public_key.public_bytes_raw()).hexdigest()[:16]


def read_private_key(path: str | Path) -> Ed25519PrivateKey:
    """Read a key to sign with.

    Raises:
        SettingError: the file cannot be read or holds no unencrypted ed25519 private key.
        MissingExtraError: without the extra 'sign'.
    """
    load = partial(_serialization().load_pem_private_key, password=None)
    return _read_key(path, load, _ed25519().Ed25519PrivateKey, "private")


def read_public_key(path: str | Path) -> Ed25519PublicKey:
    """Read a key to check signatures with; errors as in `read_private_key`."""
    return _read_key(path, _serialization().load_pem_public_key, _ed25519().Ed25519PublicKey, "public")


def _read_key(path: str | Path, load: Callable[[bytes], Any], kind: type, word: str) -> Any:
    expected = f"an ed25519 {word} key in PEM, as ctcnet sign --new-key makes"
    try:
        content = Path(path).read_bytes()
    except OSError as cause:
        raise SettingError(
            f"cannot be read ({cause.strerror})", where=path, expected=expected, fix="check the path"
        ) from cause
    try:
        key = load(content)
    except (ValueError, TypeError, _unsupported()) as cause:
        raise SettingError(
            f"is no {word} key that can be used",
            where=path,
            expected=expected,
            found=str(cause).split(".")[0],
            fix="give the other file of the pair, or make a pair: ctcnet sign --new-key NAME",
        ) from cause
    if not isinstance(key, kind):
        raise SettingError("is a key of another kind", where=path, expected="ed25519", found=type(key).__name__)
    return key


def _is_valid(found: SignatureFile, content: bytes, public_key: Ed25519PublicKey) -> bool:
    try:
        public_key.verify(found.signature_bytes(), content)
    except import_extra("cryptography.exceptions", "sign").InvalidSignature:
        return False
    return True


def _refused(model: Path, what: str, expected: str, found: str, fix: str) -> ContractError:
    return ContractError(what, where=model, expected=expected, found=found, fix=fix)


def _write_new(path: Path, content: bytes, mode: int, undo: ExitStack) -> None:
    """Write a file that is not there yet; `undo` removes it, be it whole or not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            undo.callback(path.unlink, missing_ok=True)
            stream.write(content)
    except OSError as cause:
        raise OutputError(f"could not be written ({cause.strerror})", where=path, fix="choose another place") from cause


def _ed25519() -> Any:
    return import_extra("cryptography.hazmat.primitives.asymmetric.ed25519", "sign")


def _serialization() -> Any:
    return import_extra("cryptography.hazmat.primitives.serialization", "sign")


def _unsupported() -> type[Exception]:
    return import_extra("cryptography.exceptions", "sign").UnsupportedAlgorithm
