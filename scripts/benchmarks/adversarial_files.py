"""What becomes of damaged and hostile model files: each is to be one clear error, and none may crash or hang.

    python scripts/benchmarks/adversarial_files.py models/ctcnet-s/model.onnx --flips 1000

The bit flips are made twice: with the signature file beside the model, whose hash must refuse every one, and without
it, in processes of their own, where what comes of each is counted.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from benchmark_output import print_table
from model_file_worker import Worker
from onnx import TensorProto, helper

from ctcnet.contract.signing import new_key_pair, read_private_key, sign
from ctcnet.errors import ModelFileError
from ctcnet.progress import track
from ctcnet.runtime.model_file import read_model_file
from ctcnet.runtime.signature_file import stated_sha256

Case = tuple[str, bytes, dict[str, str]]
"""What is wrong, the file's bytes, and what is asked of the worker."""


def changed_files(content: bytes, key: Path, other_key: Path) -> Iterator[Case]:
    """Files that are each wrong in one way."""
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        yield f"truncated to {100 * share:g} %", content[: int(share * len(content))], {"key": ""}
    yield "text instead of a model", b"this is no model", {"key": ""}
    for name, change in _CHANGES.items():
        model = onnx.load_model_from_string(content)
        change(model)
        yield name, model.SerializeToString(), {"key": ""}
    yield "model for another panel", content, {"panel": "rarecyte6"}
    yield "signature by another key", content, {"key": str(other_key)}
    yield "sound file, signed", content, {"key": str(key)}


def _property(name: str, value: str | None) -> Callable[[onnx.ModelProto], object]:
    def change(model: onnx.ModelProto) -> None:
        properties = {entry.key: entry.value for entry in model.metadata_props} | {name: value}
        helper.set_model_props(model, {key: text for key, text in properties.items() if text is not None})

    return change


def _custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _external(model: onnx.ModelProto) -> None:
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def _ten_gigabytes(model: onnx.ModelProto) -> None:
    next(tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT).dims[:] = [
        2_500_000_000
    ]


_CHANGES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "no metadata": lambda model: model.ClearField("metadata_props"),
    "no card": _property("ctcnet_card", None),
    "a field missing": _property("guard_band", None),
    "a field with another value": _property("temperature", "7.5"),
    "golden sample that holds nothing": _property("golden_sample", "{}"),
    "card that is no JSON": _property("ctcnet_card", "{" * 100_000),
    "custom operator": _custom_operator,
    "external data outside": _external,
    "10 GB initialiser declared": _ten_gigabytes,
}


def flip(content: bytes, rng: random.Random) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def count_refused(content: bytes, flips: int, folder: Path, key: Path) -> int:
    """Flips that the hash in the signature file refuses."""
    path, rng, refused = folder / "signed.onnx", random.Random(0), 0
    sign(path, content, read_private_key(key))
    for _ in track(range(flips), "flips beside a signature"):
        path.write_bytes(flip(content, rng))
        try:
            read_model_file(path, stated_sha256(path))
        except ModelFileError as error:
            refused += "changed" in error.what
    return refused


def count_unsigned(content: bytes, flips: int, folder: Path, worker: Worker) -> Counter[str]:
    """What becomes of the same flips without a signature file."""
    path, rng, counts = folder / "flipped.onnx", random.Random(0), Counter[str]()
    for _ in track(range(flips), "flips without a signature"):
        path.write_bytes(flip(content, rng))
        counts[worker.open(path)[0]] += 1
    return counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="file written by ctcnet export")
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--deadline-s", type=float, default=10.0, help="seconds for one file (default: 10)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    args = parser.parse_args()
    content = args.model.read_bytes()
    worker = Worker(args.model, args.deadline_s)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key, public = new_key_pair(folder / "own")
        _, other_public = new_key_pair(folder / "other")
        rows = []
        for number, (what, wrong, request) in enumerate(changed_files(content, public, other_public)):
            path = folder / f"{number}.onnx"
            path.write_bytes(wrong)
            if "sign" in what:
                sign(path, wrong, read_private_key(key))
            start = time.perf_counter()
            outcome, words = worker.open(path, **request)
            seconds = time.perf_counter() - start
            said = words.replace(str(path), "FILE").replace("|", ";")
            rows.append({"File": what, "Outcome": outcome, "Seconds": f"{seconds:.2f}", "Said": said[:160]})
        print_table(f"Hostile files made from {args.model.name}", rows)
        refused = count_refused(content, args.flips, folder, key)
        counts = count_unsigned(content, args.flips, folder, worker)
    worker.close()
    print(f"\nFlips of one bit beside a signature file: {refused} of {args.flips} refused by its hash.")
    names = {
        "error": "one clear error",
        "same": "the same answers",
        "other": "other answers",
        "traceback": "another exception",
        "crash": "crashes",
        "hang": f"hangs (over {args.deadline_s:g} s, twice)",
    }
    print("The same flips without it: " + ", ".join(f"{counts[key]} {text}" for key, text in names.items()) + ".")
    if args.json is not None:
        figures = {"files": rows, "flips": args.flips, "refused_by_hash": refused, "without_hash": dict(counts)}
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
