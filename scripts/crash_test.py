"""Kill a scan of several cartridges at random moments, resume it, and compare every byte with an uninterrupted scan.

    python scripts/crash_test.py --model MODEL.onnx --work FOLDER [--kills 50] [--cartridges 3] [--frames 12] [--seed 0]

Cartridges are simulated. Each round starts a scan, kills it (SIGKILL) after a random share of the time that a whole
scan takes, resumes it as often as it takes (one resumed run in three is killed too), and compares all results.
`run_log.json`, which holds timings, is the only file that may differ. Exit code 1 where a byte differs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

MAY_DIFFER = ("run_log.json", ".lock")


def simulate(folder: Path, cartridges: int, frames: int) -> list[Path]:
    """Small simulated cartridges, made unless they are there."""
    made = []
    for number in range(cartridges):
        path = folder / f"cartridge_{number}"
        if not path.is_dir():
            words = f"simulate cartridge {path} --layout celltracks --frames {frames} --nuclei-per-frame 25 --ctc 3"
            subprocess.run(
                [sys.executable, "-m", "ctcnet", *words.split(), "--seed", str(number), "--frame-size-px", "320x256"],
                check=True,
                stderr=subprocess.DEVNULL,
            )
        made.append(path)
    return made


def start(cartridges: list[Path], model: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a scan that goes on where an earlier one was cut off."""
    words = [sys.executable, "-m", "ctcnet", "scan", *map(str, cartridges), "--model", str(model), "-o", str(out)]
    return subprocess.Popen([*words, "--device", "cpu", "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def digests(out: Path) -> dict[str, str]:
    """Hash of every result."""
    files = (file for file in out.rglob("*") if file.is_file() and file.name not in MAY_DIFFER)
    return {file.relative_to(out).as_posix(): sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def run_to_the_end(cartridges: list[Path], model: Path, out: Path) -> float:
    """Run a scan to its end; the seconds it took."""
    begin = time.monotonic()
    process = start(cartridges, model, out)
    _, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"the scan failed with exit code {process.returncode}:\n{errors.decode()}")
    return time.monotonic() - begin


def killed_after(cartridges: list[Path], model: Path, out: Path, seconds: float) -> bool:
    """Start a scan and kill it; whether it was still running."""
    process = start(cartridges, model, out)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    finally:
        if process.stderr is not None:
            process.stderr.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--cartridges", type=int, default=3)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    cartridges = simulate(args.work, args.cartridges, args.frames)
    reference_out = args.work / "uninterrupted"
    shutil.rmtree(reference_out, ignore_errors=True)
    seconds = run_to_the_end(cartridges, args.model, reference_out)
    reference = digests(reference_out)
    print(f"uninterrupted: {seconds:.1f} s, {len(reference)} files", flush=True)
    kills, rounds, different = 0, 0, 0
    while kills < args.kills:
        rounds += 1
        out = args.work / "killed"
        shutil.rmtree(out, ignore_errors=True)
        moments = []
        while True:
            moment = rng.uniform(0.02, 1.0) * seconds
            if not killed_after(cartridges, args.model, out, moment):
                break
            kills += 1
            moments.append(moment)
            if rng.random() > 1 / 3 or kills >= args.kills:
                break
        run_to_the_end(cartridges, args.model, out)
        found = digests(out)
        same = found == reference
        different += not same
        words = ", ".join(f"{moment:.1f} s" for moment in moments)
        fate = f"killed after {words}" if moments else "ended before its kill"
        print(f"round {rounds}: {fate}: {'same bytes' if same else 'DIFFERENT'}", flush=True)
        if not same:
            names = sorted(name for name in {*found, *reference} if found.get(name) != reference.get(name))
            print("  " + ", ".join(names), flush=True)
    print(f"{kills} kills in {rounds} rounds: {different} rounds with another result")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
