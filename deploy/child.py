"""A process forked from the launcher."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from deploy.servers import die_with_parent, name_process, open_log

Ready = Callable[..., object]


class NotReady(Exception):
    """A process did not become ready; carries the process."""

    def __init__(self, process: "Child", why: str) -> None:
        super().__init__(f"{process.name} {why}")
        self.process = process


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
