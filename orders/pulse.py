"""A worker's heartbeat: a thread that keeps going beside the tasks what must not wait for a message."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import close_old_connections

from orders import control, live, recovery, settlement, sniping, traces, waiting
from orders.sweep import sweep
from routing.chain import LOOKUP_LIMIT

log = structlog.get_logger(__name__)

TICK_S = 0.02
COMPLAIN_EVERY_S = 5.0
GOOD_MANY = 16
REBUILD_AGAIN_S = 1.0
ENDS_WITHIN_S = 2.0
"""A duty in hand when the worker stops; longer ones are waiting for a store and may be cut off."""


@dataclass
class Duty:
    """Something done every `every_s` seconds; one that found a full batch is due again at once.

    One that found a good many waits longer, up to `busy_s`: under load, batches stay large and rounds few.
    """

    name: str
    every_s: float
    act: Callable[[], int]
    busy_s: float = 0.0
    due_at: float = 0.0
    complained_at: float = float("-inf")

    def run(self, now: float) -> None:
        """Act if it is time; a failure is logged, at most every COMPLAIN_EVERY_S, and tried again at the next turn."""
        if now < self.due_at:
            return
        found = 0
        try:
            with traces.work(self.name):
                found = self.act()
        except Exception as reason:
            # The loop must outlive any store's outage.
            if now - self.complained_at > COMPLAIN_EVERY_S:
                self.complained_at = now
                log.warning("duty failed, will be tried again", duty=self.name, reason=repr(reason))
        self.due_at = 0.0 if found >= LOOKUP_LIMIT else now + self.pause(found)

    def pause(self, found: int) -> float:
        """Return the seconds to wait after a turn that found so many."""
        return max(self.every_s, self.busy_s) if found >= GOOD_MANY else self.every_s


def tidy() -> int:
    """Give the thread's database connection back to the pool."""
    close_old_connections()
    return 0


rebuilding = threading.Lock()


def notice_loss() -> int:
    """Rebuild the live state if Redis was emptied: beside the other duties, which settle meanwhile what is open."""
    if live.was_emptied() and rebuilding.acquire(blocking=False):
        threading.Thread(target=rebuild, name="rebuild", daemon=True).start()
    return 0


def rebuild() -> None:
    """Rebuild the live state, and let go of what it took."""
    try:
        recovery.recover()
    except Exception as reason:
        # Whatever it is, a later look begins anew.
        log.warning("rebuild failed, will be tried again", reason=repr(reason))
        time.sleep(REBUILD_AGAIN_S)
    finally:
        close_old_connections()
        rebuilding.release()


def tell() -> int:
    """Have every process know what operators paused or moved, should Redis have been away when they did."""
    control.mirror()
    return 0


def order_duties() -> list[Duty]:
    """List what the order worker's heartbeat does."""
    return [
        Duty("look", TICK_S, settlement.look, busy_s=0.1),
        Duty("sweep", 0.1, sweep),
        Duty("audit", settings.CONFIRM_RESEND_MS / 1000, settlement.audit),
        Duty("notice loss", 0.5, notice_loss),
        Duty("tidy", 1.0, tidy),
    ]


def limit_duties() -> list[Duty]:
    """List what the limit worker's heartbeat does: waiting orders expire on time whatever becomes of beat."""
    return [Duty("expire", 0.2, waiting.expire), Duty("tell", 5.0, tell), Duty("tidy", 1.0, tidy)]


def sniper_duties() -> list[Duty]:
    """List what the sniper worker's heartbeat does: beat's half second is too long for a launch."""
    return [Duty("match", 0.05, sniping.match), Duty("tidy", 1.0, tidy)]


class Pulse(threading.Thread):
    """Runs the duties until told to stop."""

    def __init__(self, duties: list[Duty]) -> None:
        super().__init__(name="pulse", daemon=True)
        self.duties = duties
        self.stopping = threading.Event()

    def run(self) -> None:
        """Do what is due, then wait a tick."""
        while not self.stopping.is_set():
            for duty in self.duties:
                if not self.stopping.is_set():
                    duty.run(time.monotonic())
            self.stopping.wait(TICK_S)

    def stop(self, within_s: float = ENDS_WITHIN_S) -> None:
        """End after the duty in hand; wait for that."""
        self.stopping.set()
        self.join(within_s)
