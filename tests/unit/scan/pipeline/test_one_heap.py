"""One heap for all threads."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

_COUNT_HEAPS = """
import ctypes, re, sys, threading
from ctcnet.scan.pipeline.one_heap import use_one_heap

if sys.argv[1] == "one":
    assert use_one_heap()
threads = [threading.Thread(target=lambda: [bytearray(1000) for _ in range(1000)]) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_one_heap():
    stats = {
        choice: subprocess.run([sys.executable, "-c", _COUNT_HEAPS, choice], check=True, capture_output=True, text=True)
        for choice in ("one", "many")
    }
    assert stats["one"].stderr.count("Arena") == 1
    assert stats["many"].stderr.count("Arena") > 1


def test_another_c_library_is_left_alone(monkeypatch):
    from ctcnet.scan.pipeline import one_heap

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(one_heap.ctypes, "CDLL", lambda _: pytest.fail("was called"))
    assert not one_heap.use_one_heap()
    one_heap.give_back_free_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_free_memory_inside_the_heap_goes_back():
    code = """
import ctypes
from ctcnet.scan.pipeline.one_heap import give_back_free_memory, use_one_heap

def resident_mib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024

use_one_heap()
blocks = [bytearray(b"x" * 60_000) for _ in range(2000)]
last = bytearray(b"x" * 60_000)
del blocks
before = resident_mib()
give_back_free_memory()
print(before - resident_mib())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) > 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_of_a_frame_is_kept_for_the_next():
    code = """
import resource
from ctcnet.scan.pipeline.one_heap import use_one_heap

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

use_one_heap()
bytearray(b"x") * 24_000_000
before = faults()
for _ in range(20):
    bytearray(b"x") * 24_000_000
print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    pages_of_a_frame = 24_000_000 // 4096
    assert int(done.stdout) < pages_of_a_frame
