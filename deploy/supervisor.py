"""Keeps forked processes and stores running: starts, waits until ready, starts again with backoff, stops in order."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from deploy.child import Child, NotReady
from deploy.servers import StoreFailed, send
from deploy.signals import Signals

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 30.0
"""A process that lived this long has recovered: its next delay is the first again."""
DEATHS_BEFORE_READY = 3
"""A process that ended this often without ever being ready will not become so."""

Say = Callable[[str], None]


class Process(Protocol):
    """What the supervisor keeps alive: a forked role or an embedded store."""

    name: str
    log: Path

    @property
    def pid(self) -> int:
        """The process id; 0 while there is none."""

    def spawn(self) -> None:
        """Start it (again)."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""


def delay_after(failures: int) -> float:
    """Seconds to wait before the start after so many deaths in a row (1 is the first)."""
    return float(min(FIRST_DELAY_S * 2 ** (failures - 1), LONGEST_DELAY_S))


def how(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Care:
    """What the supervisor knows about one process."""

    def __init__(self, process: Process, now: float) -> None:
        self.process = process
        self.started = now
        self.failures = 0
        self.due: float | None = None
        self.asked = False


class Supervisor:
    """Starts again what ended, with backoff; `changed` is called after every start."""

    def __init__(
        self,
        say: Say,
        signals: Signals,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.say = say
        self.signals = signals
        self.changed = changed
        self.clock = clock
        self.cares: list[Care] = []

    def keep(self, process: Process) -> None:
        """Look after a process that runs already."""
        self.cares.append(Care(process, self.clock()))

    def start(self, children: Iterable[Child]) -> None:
        """Start these at once and look after them."""
        for child in children:
            child.spawn()
            self.keep(child)
        self.changed()

    def expect(self, process: Process) -> None:
        """Start this process again at once when it ends: it has been asked to."""
        for care in self.cares:
            care.asked = care.asked or care.process is process

    def step(self) -> float:
        """Notice what ended, start what is due; returns the seconds until something is due."""
        now = self.clock()
        for care in self.cares:
            if care.due is None:
                self._notice(care, now)
            elif care.due <= now:
                self._start_again(care, now)
        return min([care.due - now for care in self.cares if care.due is not None], default=LONGEST_DELAY_S)

    def _notice(self, care: Care, now: float) -> None:
        code = care.process.poll()
        if code is None:
            return
        if care.asked:
            care.asked, care.failures, care.due = False, 0, now
            self.say(f"{care.process.name} ended as asked ({how(code)}); starting it again")
            return
        care.failures = 1 if now - care.started >= STEADY_AFTER_S else care.failures + 1
        delay = delay_after(care.failures)
        care.due = now + delay
        self.say(
            f"{care.process.name} ended ({how(code)}); starting it again in {delay:.1f} s; log: {care.process.log}"
        )

    def _start_again(self, care: Care, now: float) -> None:
        care.due = None
        care.started = now
        try:
            care.process.spawn()
        except (StoreFailed, OSError) as problem:
            care.failures += 1
            care.due = now + delay_after(care.failures)
            self.say(f"{care.process.name} cannot be started: {problem}")
            return
        self.changed()

    def wait_ready(self, seconds: float) -> Iterator[Child]:
        """Yield each child as it becomes ready.  Raises NotReady for one that does not within the time."""
        deadline = self.clock() + seconds
        waiting = [care for care in self.cares if isinstance(care.process, Child)]
        while waiting:
            self.step()
            for care in list(waiting):
                child = care.process
                assert isinstance(child, Child)
                if care.due is None and child.is_ready():
                    waiting.remove(care)
                    yield child
                elif care.failures >= DEATHS_BEFORE_READY:
                    raise NotReady(child, f"ended {care.failures} times without becoming ready")
                elif self.clock() > deadline:
                    raise NotReady(child, f"is not ready after {seconds:.0f} s")
            if waiting:
                self.signals.wait(0.03)

    def watch(self, tick: Callable[[], None], every: float = 0.5) -> None:
        """Keep everything running until asked to stop."""
        while not self.signals.stops:
            self.signals.wait(min(self.step(), every))
            tick()

    def stop(self, processes: Iterable[Process], seconds: float) -> list[str]:
        """Ask these to end, kill what has not after so many seconds; returns the names of those killed."""
        chosen = list(processes)
        self.cares = [care for care in self.cares if care.process not in chosen]
        for process in chosen:
            if is_running(process):
                send(process.pid, signal.SIGTERM)
        deadline = self.clock() + seconds
        while any(map(is_running, chosen)) and self.clock() < deadline:
            self.signals.wait(min(0.05, deadline - self.clock()))
        late = [process for process in chosen if is_running(process)]
        self.kill(late)
        return [process.name for process in late]

    def kill(self, processes: Iterable[Process]) -> None:
        """End these at once, with whatever they started."""
        for process in processes:
            if is_running(process):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def is_running(process: Process) -> bool:
    """Whether the process was started and has not ended."""
    return bool(process.pid) and process.poll() is None
