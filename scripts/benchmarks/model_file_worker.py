"""Opens model files one by one in a process of its own, so that a crash or a hang is seen from outside and counted.

As a program it reads requests from standard input, one JSON a line, and answers each with one JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

FILES_PER_PROCESS = 25
"""After so many files a fresh process starts: damage done to a process by one file may show with a later one."""
START_S = 120.0
"""Seconds that a process may take to start; they do not count against the deadline."""


class Worker:
    """Processes that open files.

    Args:
        reference: sound model, whose answers are the right ones.
        deadline_s: seconds for one file. What takes longer is tried once more, alone in a fresh process, before it
            counts as a hang: a busy machine is no hang.
    """

    def __init__(self, reference: Path, deadline_s: float) -> None:
        self.reference, self.deadline_s = reference, deadline_s
        self._process: subprocess.Popen[str] | None = None
        self._left = 0

    def open(self, path: Path, **request: str) -> tuple[str, str]:
        """What came of a file: 'error' (one clear error), 'same', 'other' (answers), 'verified', 'traceback', 'crash'
        or 'hang'; and the error's first lines.
        """
        outcome = self._try(path, request)
        if outcome[0] == "hang":
            outcome = self._try(path, request)
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _try(self, path: Path, request: dict[str, str]) -> tuple[str, str]:
        process = self._start() if self._process is None or self._left == 0 else self._process
        assert process.stdin is not None
        self._left -= 1
        try:
            process.stdin.write(json.dumps({"path": str(path), **request}) + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=self.deadline_s)
        except Empty:
            self.close()
            return "hang", f"no answer within {self.deadline_s:g} s"
        except OSError:
            line = ""
        if not line:
            code = process.wait()
            self.close()
            return "crash", f"exit code {code}"
        answer = json.loads(line)
        return answer["outcome"], answer["words"]

    def _start(self) -> subprocess.Popen[str]:
        self.close()
        process = subprocess.Popen(
            [sys.executable, __file__, str(self.reference)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._process, self._left = process, FILES_PER_PROCESS
        self._lines: Queue[str] = Queue()
        Thread(target=_forward, args=(process.stdout, self._lines), daemon=True).start()
        if self._lines.get(timeout=START_S) != "ready\n":
            raise RuntimeError("the worker did not start")
        return process


def _forward(stream: Any, lines: Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def main() -> None:
    """Answer requests until standard input ends."""
    import numpy as np

    from ctcnet.contract.golden_sample import golden_from_text
    from ctcnet.errors import CtcnetError
    from ctcnet.runtime import OnnxPredictor, SessionSettings

    settings = SessionSettings(threads=1)
    reference = OnnxPredictor(sys.argv[1], settings)
    sample = golden_from_text(reference.properties["golden_sample"], sys.argv[1])
    right = reference.predict(sample.crops, *sample.cases[0][:2])
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            outcome, words = _verify(request), ""
            if outcome is None:
                found = OnnxPredictor(request["path"], settings).predict(sample.crops, *sample.cases[0][:2])
                same = np.allclose(found.probabilities, right.probabilities, atol=sample.probability_tolerance)
                same = same and np.array_equal(found.unassigned, right.unassigned)
                outcome = "same" if same else "other"
        except CtcnetError as error:
            outcome, words = "error", " | ".join(str(error).split("\n")[:3])
        except Exception as error:
            outcome, words = "traceback", repr(error)
        print(json.dumps({"outcome": outcome, "words": words}), flush=True)


def _verify(request: dict[str, str]) -> str | None:
    """Verify a file where the request names a key ('' for none), match it to a panel where it names one, else None."""
    from ctcnet.contract.signing import read_public_key
    from ctcnet.contract.verification import verify
    from ctcnet.panel import load_panel
    from ctcnet.runtime import OnnxPredictor
    from ctcnet.runtime.crop_prediction import match_channels

    path = Path(request["path"])
    if "panel" in request:
        match_channels(load_panel(request["panel"]), OnnxPredictor(path).card)
    elif "key" in request:
        list(verify(path, read_public_key(request["key"]) if request["key"] else None))
    else:
        return None
    return "verified"


if __name__ == "__main__":
    main()
