"""Keeps forked processes and stores running: starts, waits until ready, starts again with backoff, stops in order."""

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

from deploy.servers import StoreFailed, die_with_parent, name_process, open_log, send

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 30.0
"""A process that lived this long has recovered: its next delay is the first again."""
DEATHS_BEFORE_READY = 3
"""A process that ended this often without ever being ready will not become so."""

Ready = Callable[..., object]
Say = Callable[[str], None]


class Interrupted(BaseException):
    """Raised by Ctrl-C or SIGTERM while the start is under way, and by the second one at any time."""


class NotReady(Exception):
    """A process did not become ready; carries the process."""

    def __init__(self, process: "Child", why: str) -> None:
        super().__init__(f"{process.name} {why}")
        self.process = process


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


class Signals:
    """Counts requests to stop and wakes the waiting launcher, also when a child has ended."""

    def __init__(self) -> None:
        self.stops = 0
        self.raising = True
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, *_: object) -> None:
        self.stops += 1
        if self.raising or self.stops > 1:
            raise Interrupted

    def wait(self, seconds: float) -> None:
        """Return after a signal, or after so many seconds."""
        select.select([self._read], [], [], max(seconds, 0))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass

    def forget(self) -> None:
        """Undo all of it in a forked child."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._read)
        os.close(self._write)


class Child:
    """A process forked from the launcher, which has imported everything already.

    `run` is called in the child with a function that reports readiness, optionally with a word for the user.
    `answers`, when given, is asked from outside instead.  `clean` undoes in the child what only the launcher needs.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Ready], None],
        log: Path,
        *,
        answers: Callable[[], bool] | None = None,
        clean: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.run = run
        self.log = log
        self.answers = answers
        self.clean = clean
        self.pid = 0
        self.word = ""
        self._code: int | None = None
        self._pipe = -1

    def spawn(self) -> None:
        """Fork.  Signals wait meanwhile, so that none reaches the child with the launcher's handlers."""
        self._close_pipe()
        read, write = os.pipe()
        os.set_blocking(read, False)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._live(parent, write, blocked)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(write)
        self.pid, self._code, self._pipe, self.word = pid, None, read, ""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        if self.pid and self._code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def is_ready(self) -> bool:
        """Whether the process has reported, or answers from outside."""
        if self.answers is not None:
            return self.answers()
        if not self.word and self._pipe >= 0:
            with contextlib.suppress(BlockingIOError):
                self.word = os.read(self._pipe, 200).decode()
        return bool(self.word)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _live(self, parent: int, write: int, mask: set[int | signal.Signals]) -> NoReturn:
        """The child's life, from fork to exit; nothing of the launcher's runs in it afterwards."""
        code = 1
        try:
            os.setsid()
            # SIGKILL: it cannot be ignored, and it frees ports and data for the next start at once.  Whoever killed
            # the launcher killed the stores too, and every role survives being killed.
            die_with_parent(parent, signal.SIGKILL)
            name_process(self.name)
            self._redirect()
            self.clean()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self.run(lambda word="ready": os.write(write, word.encode()))
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except KeyboardInterrupt:
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            # Not sys.exit: exit handlers registered before the fork belong to the launcher.
            os._exit(code)

    def _redirect(self) -> None:
        """Send output to the log; read nothing."""
        with open_log(self.log) as log, Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


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
