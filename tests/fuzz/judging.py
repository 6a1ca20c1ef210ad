"""What is wrong with an engine that was sent what no client should send: its answers, its logs, its processes."""

import json
import re
from pathlib import Path

from config.env import ROOT
from tests.system import System

ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*((?:\r\n[^\r\n]+)*)\r\n\r\n")
FRAME = re.compile(rb"\x88[\x02-\x7d](..)([^\x88]*)\Z", re.DOTALL)
FAILED = 1011
PATIENCE = b"keepalive"
"""With this reason the close code says that the client did not answer pings."""
INSIDE = re.compile(
    rb"Traceback \(most|site-packages|psycopg|OperationalError|redis\.exceptions|postgres(?:ql)?://|rediss?://"
)
GROWTH_MAX_MB = 150
"""By how much any process may have grown in the end: heaps that fragment, caches that fill, no more."""


def inside(engine: System) -> re.Pattern[bytes]:
    """Return what no answer may hold: the engine's own places and its traces."""
    running = engine.running()
    places = [str(engine.data_dir), str(ROOT)]
    for name in ("DATABASE_URL", "REDIS_URL"):
        places += re.findall(r"@?([\w.]+:\d+|/[\w/.-]+)(?:/|$|\?)", running[name])[:1]
    return re.compile(b"|".join([INSIDE.pattern, *(re.escape(place.encode()) for place in places)]))


def wrong_with(received: bytes, private: re.Pattern[bytes]) -> list[str]:
    """Say what is wrong with what a connection was sent."""
    found = []
    for status, head in ANSWER.findall(received):
        if status >= b"500" and not (status == b"503" and b"retry-after:" in head.lower()):
            found.append(f"answered {status.decode()}")
    if (closed := FRAME.search(received)) and int.from_bytes(closed[1]) == FAILED and PATIENCE not in closed[2]:
        found.append("closed with 1011")
    if leak := private.search(received):
        found.append(f"told {leak[0]!r}")
    return found


def outcome(received: bytes) -> str:
    """Name how a connection ended, for the table."""
    statuses = [status.decode() for status, _ in ANSWER.findall(received)]
    if statuses and statuses[-1] == "101":
        closed = FRAME.search(received)
        return f"closed {int.from_bytes(closed[1])}" if closed else "101"
    return next((status for status in statuses if status != "100"), "no answer")


def complaints(folder: Path) -> list[str]:
    """Return the lines of the logs that tell of a defect."""
    found = []
    for path in sorted(folder.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if "Traceback (most" in line or level(line) in ("error", "critical"):
                found.append(f"{path.name}: {line[:2000]}")
    return found


def level(line: str) -> str:
    """Return the level of a line of the log."""
    try:
        told = json.loads(line)
    except ValueError:
        return "error" if re.match(r"(ERROR|CRITICAL)\b", line) else ""
    return str(told.get("level", "")) if isinstance(told, dict) else ""


def memory_mb(engine: System) -> dict[str, int]:
    """Return the resident memory of each process."""
    return {name: resident_mb(pid) for name, pid in engine.pids().items()}


def resident_mb(pid: int) -> int:
    """Return the resident memory of one; 0 when it has ended."""
    try:
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) // 1024
    except (OSError, IndexError):
        return 0
