"""What a process in a container says about itself: whether it lives, and whether it is ready to be relied upon.

A store that is away makes nobody unwell: a new process would not reach it either.  Unwell is who stands still although
everything is there.  Such a process ends by itself: Docker and `manage.py up` start again what has ended, never what is
merely unhealthy.
"""

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

TURNS_EVERY_S = 2.0
STUCK_AFTER_S = 60.0
"""No step of a worker's loop takes this long: what it sends and receives has limits of a few seconds."""
ENDS_AFTER_S = 30.0
"""For how long a process has been found stuck when it ends."""
ASKS_EVERY_S = 5.0

Question = Callable[[], str]
"""Tells what is wrong; an empty text when nothing is."""


class Turns:
    """When a loop was last seen to turn; one that is not meant to turn now is not stuck."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.seen: float | None = None

    def turned(self) -> None:
        """Take note of a turn."""
        self.seen = self.clock()

    def rests(self) -> None:
        """Expect no turns until the next one."""
        self.seen = None

    def stuck(self) -> str:
        """Say for how long the loop has stood still, if for too long."""
        silent = 0.0 if self.seen is None else self.clock() - self.seen
        return f"the worker's loop has been blocked for {silent:.0f} s" if silent > STUCK_AFTER_S else ""


def end_when_stuck(stuck: Question) -> None:
    """End this process once it has been found stuck for ENDS_AFTER_S; asked on a thread, so call it after the fork."""
    threading.Thread(target=ask_until_stuck, args=(stuck,), name="liveness", daemon=True).start()


def ask_until_stuck(stuck: Question, clock: Callable[[], float] = time.monotonic) -> None:
    """Ask again and again; leave with the reason and with what each thread is doing."""
    well = clock()
    while True:
        # Whoever holds the interpreter's lock keeps this thread from asking; faulthandler's timer needs no lock.
        faulthandler.dump_traceback_later(STUCK_AFTER_S + ENDS_AFTER_S, exit=True)
        reason = stuck()
        if not reason:
            well = clock()
        elif clock() - well >= ENDS_AFTER_S:
            log.error("stuck, exiting to be started again", reason=reason)
            faulthandler.dump_traceback()
            os._exit(1)
        time.sleep(ASKS_EVERY_S)


def watch_worker(app: Any, turns: Turns) -> None:
    """Have the worker's consumer take note of its turns while it is connected to the broker."""
    from celery import bootsteps

    class Watch(bootsteps.StartStopStep):
        """Begins with each connection to the broker and ends with it."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            """Have the loop's own timer tell of its turns."""
            turns.turned()
            self.timer = consumer.timer.call_repeatedly(TURNS_EVERY_S, turns.turned)

        def stop(self, consumer: Any) -> None:
            """The broker is away, or the worker ends."""
            self.timer.cancel()
            turns.rests()

    app.steps["consumer"].add(Watch)


class Readiness:
    """Whether a role has said that it works; until then, what it waits for."""

    def __init__(self) -> None:
        self.lacking = "starting"

    def waits(self, what: str) -> None:
        """Say what is waited for, once for each different answer."""
        if what != self.lacking:
            log.info("waiting", reason=what)
        self.lacking = what

    def come(self) -> None:
        """Wait for nothing any more."""
        self.lacking = ""

    def question(self) -> str:
        """Say what is lacking."""
        return self.lacking
