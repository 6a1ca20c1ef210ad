"""What clients write down: one JSON line each, numbered in the order in which it happened."""

import json
import time
from itertools import count
from pathlib import Path
from typing import Any


class Journal:
    """One append-only file; nothing of it is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", encoding="utf-8", buffering=1 << 16)
        self.numbers = count(1)

    def write(self, kind: str, **facts: Any) -> float:
        """Write a line down; return its time, in epoch seconds."""
        at = time.time()
        line = {"n": next(self.numbers), "t": round(at, 6), "k": kind, **facts}
        self.file.write(json.dumps(line, separators=(",", ":")) + "\n")
        return at

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self.file.flush()

    def close(self) -> None:
        """Write the rest and close."""
        self.file.close()
