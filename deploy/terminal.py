"""What the launcher shows: steps with their time, changes of state, and the errors the roles log."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from deploy.servers import open_log


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Show one step of the start with the time it took; the body may add a word."""
    words = ["ok"]
    started = time.monotonic()
    yield words.append
    said = f"{words[-1]}  {time.monotonic() - started:.1f} s"
    show(f"  {name:<12} {said}")
    journal.keep(f"{name}: {said}")


def say(text: str) -> None:
    """Show a change of state, with the time of day, and keep it."""
    tell(text)
    journal.keep(text)


def announce(text: str) -> None:
    """Show a step of the start or the end as it is, and keep it."""
    show(text)
    journal.keep(text)


def fail(text: str) -> None:
    """Show why the engine does not start or go on, and keep it."""
    show(f"\n{text}", to=2)
    journal.keep(text, "error")


def tell(text: str) -> None:
    """Show what another process has on record, with the time of day."""
    show(f"{time.strftime('%H:%M:%S')} {text}")


class Journal:
    """The launcher's own log, a line of JSON for each sentence, like the other processes' logs; once it has a path.

    Readable by its owner alone, and set aside as `.1` when it is large.
    """

    def __init__(self) -> None:
        self.path: Path | None = None

    def keep(self, text: str, level: str = "info") -> None:
        """Append a sentence; a full disk is no reason to stop the engine."""
        if self.path is None:
            return
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = json.dumps({"event": text.strip(), "worker": "launcher", "level": level, "timestamp": at})
        with suppress(OSError), open_log(self.path) as file:
            file.write(f"{line}\n".encode())


journal = Journal()


def show(text: str, *, to: int = 1) -> None:
    """Print at once; a terminal or pipe that was closed is no reason to stop the engine."""
    stream = sys.stdout if to == 1 else sys.stderr
    try:
        print(text, file=stream, flush=True)
    except OSError:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), to)


class Logs:
    """Shows what the roles log: errors only, or everything."""

    MOST = 5
    """Lines shown per log and look; the rest is counted."""
    AGAIN_AFTER_S = 60.0
    """How long the same error of the same process is not shown again."""
    CHUNK = 1_000_000

    def __init__(self, paths: list[Path], *, verbose: bool) -> None:
        self.verbose = verbose
        self.read: dict[Path, int] = {}
        for path in paths:
            open_log(path).close()
            self.read[path] = path.stat().st_size
        self.shown: dict[str, float] = {}

    def show(self) -> None:
        """Print what is new since the last look."""
        for path, start in self.read.items():
            lines, self.read[path] = new_lines(path, start, self.CHUNK)
            if self.verbose:
                telling = [f"{path.stem}: {line}" for line in lines]
            else:
                telling = self._new([f"{path.stem}: {gist(line)}" for line in lines if is_error(line)])
            for text in telling if self.verbose else telling[: self.MOST]:
                tell(text)
            if not self.verbose and len(telling) > self.MOST:
                tell(f"{path.stem}: and {len(telling) - self.MOST} more errors; log: {path}")

    def _new(self, texts: list[str]) -> list[str]:
        """Those not shown lately, each once."""
        now = time.monotonic()
        self.shown = {text: at for text, at in self.shown.items() if now - at < self.AGAIN_AFTER_S}
        fresh = [text for text in dict.fromkeys(texts) if text not in self.shown]
        self.shown.update(dict.fromkeys(fresh, now))
        return fresh


def new_lines(path: Path, start: int, most: int) -> tuple[list[str], int]:
    """Whole lines a log gained after byte `start`, and the byte to go on from; skips ahead when far behind."""
    try:
        size = path.stat().st_size
        start = 0 if size < start else max(start, size - most)
        if size == start:
            return [], start
        with path.open("rb") as file:
            file.seek(start)
            whole, newline, _ = file.read(size - start).rpartition(b"\n")
    except OSError:
        return [], start
    return whole.decode(errors="replace").splitlines(), start + len(whole) + len(newline)


def is_error(line: str) -> bool:
    """Whether a log line reports an error."""
    return '"level": "error"' in line or '"level": "critical"' in line


def gist(line: str) -> str:
    """An error's sentence and the order it concerns, from its JSON."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    order = f" (order {fields['order_id']})" if "order_id" in fields else ""
    sentence = str(fields.get("event", line)).strip().partition("\n")[0]
    return f"{sentence}{order}"
