"""A worker's duties: what it does in the background, beside its tasks and without waiting for a message.

Each has a thread of its own, so that one that hangs, on a chain or a store, keeps none of the others from its turn.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import close_old_connections

from orders.flow import pauses, recovery, settlement, sniping, waiting
from orders.flow.sweep import sweep
from orders.stores.claims import hands
from orders.telemetry import traces
from routing.chain import LOOKUP_LIMIT

log = structlog.get_logger(__name__)

COMPLAIN_EVERY_S = 5.0
GOOD_MANY = 16
REBUILD_AGAIN_S = 1.0
ENDS_WITHIN_S = 2.0
"""A duty in hand when the worker stops; longer ones are waiting for a store and may be cut off."""
RENEWALS = 4
"""How often a lease in hand is renewed before it would run out; config/env.py reckons with it."""
TIDY_EVERY_S = 1.0
"""How long a thread may keep its database connection."""


@dataclass
class Duty:
    """Something done every `every_s` seconds; one that found a full batch is due again at once.

    One that found a good many waits longer, up to `busy_s`: under load, batches stay large and rounds few.
    """

    name: str
    every_s: float
    act: Callable[[], int]
    busy_s: float = 0.0
    complained_at: float = float("-inf")

    def run(self) -> float:
        """Act, and return the seconds until the next turn; a failure is logged, at most every COMPLAIN_EVERY_S."""
        found = 0
        try:
            with traces.work(self.name):
                found = self.act()
        except Exception as reason:
            # The thread must outlive any store's outage.
            if time.monotonic() - self.complained_at > COMPLAIN_EVERY_S:
                self.complained_at = time.monotonic()
                log.warning("duty failed, will be tried again", duty=self.name, reason=repr(reason))
        return 0.0 if found >= LOOKUP_LIMIT else self.pause(found)

    def pause(self, found: int) -> float:
        """Return the seconds to wait after a turn that found so many."""
        return max(self.every_s, self.busy_s) if found >= GOOD_MANY else self.every_s


rebuilding = threading.Lock()


def notice_loss() -> int:
    """Rebuild the live state if Redis was emptied: beside the other duties, which settle meanwhile what is open."""
    if recovery.noticed() and rebuilding.acquire(blocking=False):
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
    pauses.mirror()
    return 0


def order_duties() -> list[Duty]:
    """List what the order worker does in the background."""
    return [
        Duty("look", 0.02, settlement.look, busy_s=0.1),
        Duty("renew leases", settings.ORDER_LEASE_MS / 1000 / RENEWALS, hands.renew),
        Duty("sweep", 0.1, sweep),
        Duty("audit", settings.CONFIRM_RESEND_MS / 1000, settlement.audit),
        Duty("notice loss", 0.2, notice_loss),
        expiry(),
    ]


def expiry() -> Duty:
    """Make the duty that ends waiting orders on time.

    Workers of two kinds have it, and share what is due: one that is frozen, or is being started again, delays nobody.
    """
    return Duty("expire", 0.2, waiting.expire)


def limit_duties() -> list[Duty]:
    """List what the limit worker does in the background: waiting orders expire on time whatever becomes of beat."""
    return [expiry(), Duty("tell", 5.0, tell)]


def sniper_duties() -> list[Duty]:
    """List what the sniper worker does in the background: beat's half second is too long for a launch."""
    return [Duty("match", 0.05, sniping.match)]


class DutyThreads:
    """Runs duties until told to stop."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.keep_up, args=[duty], name=duty.name, daemon=True) for duty in duties
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self.threads:
            thread.start()

    def keep_up(self, duty: Duty) -> None:
        """Do one duty whenever it is due."""
        tidied = time.monotonic()
        while not self.stopping.is_set():
            pause = duty.run()
            if time.monotonic() - tidied > TIDY_EVERY_S:
                tidied = time.monotonic()
                close_old_connections()
            self.stopping.wait(pause)
        close_old_connections()

    def stop(self, within_s: float = ENDS_WITHIN_S) -> None:
        """End after the duties in hand; wait for those."""
        self.stopping.set()
        deadline = time.monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
