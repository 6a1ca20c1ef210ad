"""Memory that is free goes back to the system; nothing about what is in use changes."""

import subprocess
import sys

import pytest

from deploy import memory

PEAK = """
import threading, time, sys
from pathlib import Path
from deploy import memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024

memory.EVERY_S = 0.05
pieces = [bytearray(3000) for _ in range(40_000)]
kept, peak = pieces[::400], resident_mb()
del pieces
if sys.argv[1] == "on":
    memory.give_back()
deadline = time.monotonic() + 10
while resident_mb() > peak - 80 and time.monotonic() < deadline and sys.argv[1] == "on":
    time.sleep(0.05)
print(peak - resident_mb(), all(len(piece) == 3000 for piece in kept))
"""


@pytest.mark.skipif(memory.trimmer() is None, reason="this C library has no malloc_trim")
def test_what_a_peak_took_goes_back_although_pieces_between_are_in_use():
    fallen = {}
    for state in ("on", "off"):
        done = subprocess.run([sys.executable, "-c", PEAK, state], capture_output=True, text=True, check=True)
        fell_mb, whole = done.stdout.split()
        fallen[state] = int(fell_mb)
        assert whole == "True"
    assert fallen["on"] >= 80
    assert fallen["off"] < 40
