"""Run a model on a folder of prepared inputs and keep the raw outputs, with numpy and onnxruntime alone.

    python run_cases.py MODEL.onnx CASES OUT

CASES/cases.json lists runs, `{"name": ..., "inputs": {INPUT: TENSOR}}`, where a TENSOR is
`{"dtype": "uint16", "shape": [7, 5, 64, 64], "file": "inputs.bin", "offset": 0}`: raw little-endian values from a byte
of a file in that folder. OUT/answers.json gets the name of the runtime and for each run its `outputs` in the same form,
or its `error`. `../node/run_cases.mjs` does the same in Node.js.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def read_tensor(folder: Path, description: dict) -> np.ndarray:
    """The tensor that a description in a file of JSON stands for."""
    shape, dtype = description["shape"], np.dtype(description["dtype"]).newbyteorder("<")
    count = int(np.prod(shape, dtype=np.int64))
    values = np.fromfile(folder / description["file"], dtype=dtype, count=count, offset=description["offset"])
    return values.reshape(shape)


def main(model: Path, folder: Path, out: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    answers = []
    with open(out / "outputs.bin", "wb") as file:
        for number, case in enumerate(cases, start=1):
            answer: dict = {"name": case["name"]}
            feed = {name: read_tensor(folder, description) for name, description in case["inputs"].items()}
            try:
                found = session.run(names, feed)
            except Exception as cause:  # onnxruntime's own exceptions share no base class
                answer["error"] = str(cause)
            else:
                answer["outputs"] = {}
                for name, values in zip(names, map(np.asarray, found), strict=True):
                    place = {"file": "outputs.bin", "offset": file.tell()}
                    answer["outputs"][name] = {"dtype": str(values.dtype), "shape": values.shape, **place}
                    file.write(values.tobytes())
            answers.append(answer)
            if number % 50 == 0 or number == len(cases):
                print(f"{number} of {len(cases)}", file=sys.stderr)
    result = {"runtime": f"onnxruntime {onnxruntime.__version__}", "answers": answers}
    (out / "answers.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
