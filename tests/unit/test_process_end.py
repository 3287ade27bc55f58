import os
import signal
import subprocess
import sys

import pytest

from ctcnet.process_end import Terminated, interruption_code, termination_as_interruption

_START = """
import atexit, ctypes, sys
from ctcnet.process_end import run_to_end

libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)  # a native library that fails as it is unloaded

def run():
    atexit.register(print, "exit handler")
    print("done")
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("return 0", 0),
        ("return 1", 1),
        ("sys.exit(2)", 2),
        ("sys.exit()", 0),
        ("sys.exit('a message')", 1),
        ("raise ValueError('a fault')", 1),
        ("raise OSError('a fault')", 1),
        ("raise BrokenPipeError(32, 'a fault')", 1),
        ("raise KeyboardInterrupt", 130),
    ],
)
def test_the_exit_code_is_that_of_the_work_and_exit_handlers_run(ending, code):
    words = [sys.executable, "-c", f"{_START}    {ending}\n\nrun_to_end(run)"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stdout.split() == ["done", "exit", "handler"]
    assert ("a message" in done.stderr) == ("a message" in ending)
    assert ("a fault" in done.stderr) == ("a fault" in ending)
    assert ("Traceback" in done.stderr) == ("raise" in ending)


def test_without_it_such_a_library_would_decide_the_exit_code():
    done = subprocess.run([sys.executable, "-c", f"{_START}    return 0\n\nsys.exit(run())"], check=False, timeout=60)
    assert done.returncode < 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("ending", ["return 0", "sys.exit(0)", "print('x' * 100_000)"])
def test_output_that_cannot_be_written_is_one_error(ending, unbuffered):
    words = [sys.executable, "-c", f"{_START}    {ending}\n\nrun_to_end(run)"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: what is printed could not be written (No space left on device)\n")
    assert "Traceback" not in done.stderr


def test_without_an_output_nothing_is_said():
    words = ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, f"{_START}    return 0\n\nrun_to_end(run)"]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_handler_of_the_program_that_calls_is_left():
    def own(*_):
        return None

    before = signal.signal(signal.SIGTERM, own)
    try:
        with termination_as_interruption():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated_while_tidying_up():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # waits


def test_sigterm_is_an_interruption_once_and_the_default_afterwards():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(Terminated) as caught, termination_as_interruption():
            _terminated_while_tidying_up()
        assert interruption_code(caught.value) == 143
        assert interruption_code(KeyboardInterrupt()) == 130
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
