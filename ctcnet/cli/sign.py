"""`ctcnet sign`: a signature and a bill of materials beside a model file, or a new pair of keys."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "sign",
        help="sign an exported file and write its bill of materials, or make a pair of keys",
        description="Verify an exported file, write its ed25519 signature beside it (MODEL.onnx.sig, with the file's "
        "hash: a file that was changed is refused wherever it is opened) and its bill of materials (MODEL.sbom.json, "
        "CycloneDX: the programs that made it). With --new-key make NAME.pem, to be kept secret, and NAME.pub.pem, to "
        "be given to those who verify.",
        epilog="example: ctcnet sign --new-key laboratory; ctcnet sign model.onnx --key laboratory.pem",
    )
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL.onnx", help="file written by ctcnet export")
    parser.add_argument("--key", type=Path, metavar="PRIVATE.pem", help="key to sign with")
    parser.add_argument("--new-key", metavar="NAME", help="make a pair of keys; files that exist are never replaced")
    parser.add_argument("--overwrite", action="store_true", help="replace a signature and a bill that exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sign, or make keys, and say what was written."""
    from ctcnet.errors import SettingError

    if args.new_key is not None and args.model is None and args.key is None:
        return _make_keys(args.new_key)
    if args.model is None or args.key is None or args.new_key is not None:
        raise SettingError("says not what to do", expected="MODEL.onnx --key PRIVATE.pem, or --new-key NAME alone")
    return _sign(args.model, args.key, args.overwrite)


def _make_keys(name: str) -> int:
    from ctcnet.contract.signing import key_id, new_key_pair, read_public_key

    private, public = new_key_pair(name)
    print(f"wrote {private} (keep it secret) and {public} (give it to those who verify)")
    print(f"key {key_id(read_public_key(public))}")
    return 0


def _sign(model: Path, key_file: Path, overwrite: bool) -> int:
    from ctcnet.cli.models import onnx_file
    from ctcnet.contract.field_check import check_made_with
    from ctcnet.contract.sbom import sbom_path, sbom_text
    from ctcnet.contract.signing import read_private_key, sign
    from ctcnet.contract.verification import verify_content
    from ctcnet.output import check_output, new_output_file
    from ctcnet.runtime.model_file import read_model_file
    from ctcnet.runtime.onnx_predictor import read_card
    from ctcnet.runtime.signature_file import signature_path

    path = onnx_file(model)
    key = read_private_key(key_file)
    bill = sbom_path(path)
    for output in (signature_path(path), bill):
        check_output(output, overwrite=overwrite)
    file = read_model_file(path)
    for name, found in verify_content(file, path):  # a signature that is there is of an older file
        print(f"{name + ':':15s}{found}")
    text = sbom_text(path, file, read_card(file.properties, path), check_made_with(file.properties, path))
    with new_output_file(bill, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8")
    signature = sign(path, file.content, key)
    print(f"wrote {signature_path(path)} (key {signature.key_id}) and {bill.name}")
    return 0
