import json
import os
import resource
import stat
from hashlib import sha256

import pytest

from ctcnet.cli import main
from ctcnet.contract.signing import key_id, new_key_pair, read_private_key, read_public_key, sign
from ctcnet.errors import CtcnetError, ModelFileError, OutputError, SettingError
from ctcnet.runtime import OnnxPredictor
from ctcnet.runtime.signature_file import read_signature, signature_path

pytestmark = pytest.mark.unit


@pytest.fixture
def keys(tmp_path):
    return new_key_pair(tmp_path / "keys" / "laboratory")


def _main(*words) -> int:
    return main([str(word) for word in words])


def test_keys_are_private_and_never_replaced(keys):
    private, public = keys
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    before = private.read_bytes()
    with pytest.raises(OutputError, match="never replaced"):
        new_key_pair(private.with_suffix(""))
    public.rename(public.with_name("moved.pem"))
    with pytest.raises(OutputError, match="never replaced"):
        new_key_pair(private.with_suffix(""))
    assert private.read_bytes() == before


def test_no_private_key_is_left_where_the_public_one_cannot_be_written(tmp_path):
    name = "k" * 250  # with .pem a file may have it, with .pub.pem none
    with pytest.raises(OutputError, match=r"could not be written"):
        new_key_pair(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_no_key_is_left_where_the_disk_is_full(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (115, before[1]))  # bytes: enough for the public key, not the private
    try:
        with pytest.raises(OutputError, match=r"could not be written"):
            new_key_pair(tmp_path / "laboratory")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    assert [len(path.read_bytes()) for path in new_key_pair(tmp_path / "laboratory")] == [119, 113]


def test_signed_file_is_verified_with_its_key_alone(exported, keys, tmp_path, capsys):
    private, public = keys
    assert _main("sign", exported, "--key", private) == 0
    assert _main("verify", exported, "--key", public) == 0
    assert "valid, by the key" in capsys.readouterr().out
    assert _main("verify", exported) == 0
    assert "whose that is was not checked" in capsys.readouterr().out
    _, other = new_key_pair(tmp_path / "other")
    assert _main("verify", exported, "--key", other) == 1
    assert "another key" in capsys.readouterr().out


def test_file_without_a_signature_fails_where_a_key_is_given(exported, keys, capsys):
    assert _main("verify", exported, "--key", keys[1]) == 1
    assert "is not signed" in capsys.readouterr().out


def test_signature_file_names_hash_and_key(exported, keys):
    private, public = keys
    content = exported.read_bytes()
    sign(exported, content, read_private_key(private))
    found = json.loads(signature_path(exported).read_text())
    assert found["sha256"] == sha256(content).hexdigest()
    assert found["algorithm"] == "ed25519"
    assert found["key_id"] == key_id(read_public_key(public))


def test_hash_written_anew_beside_a_changed_file_needs_the_key(exported, keys, capsys):
    sign(exported, exported.read_bytes(), read_private_key(keys[0]))
    content = exported.read_bytes().replace(b"linear", b"LINEAR")
    exported.write_bytes(content)
    path = signature_path(exported)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": sha256(content).hexdigest()}))
    assert _main("verify", exported, "--key", keys[1]) == 1
    assert "did not make" in capsys.readouterr().out


def test_every_flip_is_refused_by_the_hash_in_the_signed_file(exported, keys):
    import random

    whole = exported.read_bytes()
    sign(exported, whole, read_private_key(keys[0]))
    rng = random.Random(0)
    for _ in range(100):
        content = bytearray(whole)
        content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        exported.write_bytes(content)
        with pytest.raises(ModelFileError, match="changed"):
            OnnxPredictor(exported)


def test_nothing_is_replaced_without_being_told(exported, keys, capsys):
    assert _main("sign", exported, "--key", keys[0]) == 0
    before = signature_path(exported).read_bytes()
    assert _main("sign", exported, "--key", keys[0]) == 2
    assert "exists already" in capsys.readouterr().err
    assert signature_path(exported).read_bytes() == before
    assert _main("sign", exported, "--key", keys[0], "--overwrite") == 0


def test_file_that_does_not_verify_is_not_signed(write_linear_model, keys, capsys):
    path = write_linear_model()
    assert _main("sign", path, "--key", keys[0]) == 2
    assert "metadata property" in capsys.readouterr().err
    assert read_signature(path) is None


@pytest.mark.parametrize("words", [[], ["--key", "k.pem"], ["m.onnx"], ["m.onnx", "--new-key", "k"]])
def test_what_to_do_must_be_clear(words, capsys):
    assert _main("sign", *words) == 2
    assert "--new-key" in capsys.readouterr().err


def test_verb_makes_keys(tmp_path, capsys):
    assert _main("sign", "--new-key", tmp_path / "mine") == 0
    assert "keep it secret" in capsys.readouterr().out
    assert read_private_key(tmp_path / "mine.pem")


@pytest.mark.parametrize(("name", "said"), [("", "is empty"), ("keys/", "needs a name")])
def test_keys_need_a_name(name, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _main("sign", "--new-key", name) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_files_are_no_keys(keys, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private, public = keys
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other.pem").write_bytes(pem)
    for read, path in (
        (read_private_key, public),
        (read_public_key, private),
        (read_private_key, tmp_path / "no.pem"),
        (read_private_key, tmp_path / "other.pem"),
    ):
        with pytest.raises(SettingError, match="key"):
            read(path)


def test_bill_of_materials_names_the_file_and_what_made_it(exported, keys):
    assert _main("sign", exported, "--key", keys[0]) == 0
    bill = json.loads(exported.with_suffix(".sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    root = bill["metadata"]["component"]
    assert root["hashes"] == [{"alg": "SHA-256", "content": sha256(exported.read_bytes()).hexdigest()}]
    assert root["type"] == "machine-learning-model"
    programs = {entry["name"]: entry for entry in bill["components"]}
    assert {"ctcnet", "torch", "onnx", "onnxscript", "numpy", "onnxruntime"} <= set(programs)
    import numpy

    assert programs["numpy"]["version"] == numpy.__version__
    assert all(entry.get("licenses") for entry in programs.values())


def test_extra_is_named_where_it_is_missing(exported, monkeypatch, capsys):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(CtcnetError):
        new_key_pair("x")
    assert _main("verify", exported, "--key", "x.pem") == 2
    assert 'pip install "ctcnet[sign]"' in capsys.readouterr().err
    assert _main("verify", exported) == 0


@pytest.mark.parametrize("text", [None, "malformed"])
def test_overwrite_signs_a_newer_file_in_place_of_the_older(exported, keys, capsys, text):
    private, public = keys
    assert _main("sign", exported, "--key", private) == 0
    signature_path(exported).write_text(
        json.dumps(json.loads(signature_path(exported).read_text()) | {"sha256": "0" * 64}) if text is None else text
    )
    assert _main("verify", exported) != 0
    assert _main("sign", exported, "--key", private) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert _main("sign", exported, "--key", private, "--overwrite") == 0
    assert _main("verify", exported, "--key", public) == 0
