"""Worker duties: periodic background work that runs beside the tasks, without waiting for a message.

Each duty has its own thread, so one that hangs on a chain or a store does not delay the others.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from django.conf import settings
from django.db import close_old_connections

from orders.flow import (
    chain_refusals,
    dbsync,
    disconnects,
    honesty,
    limits,
    pauses,
    recovery,
    sealing,
    settlement,
    sniping,
    waiting,
)
from orders.flow.sweep import sweep
from orders.stores.claims import hands
from orders.telemetry import traces
from routing.chain import LOOKUP_LIMIT

log = structlog.get_logger(__name__)

COMPLAIN_EVERY_S = 5.0
LOOK_EVERY_S = 0.05
"""How often due look-ups are searched for; a process is called at once for the transactions it sent itself."""
FEW, GOOD_MANY = 2, 16
"""Items in one run that tell one user on an idle engine from light load, and light load from much."""
GATHER_S = 0.02
REBUILD_AGAIN_S = 1.0
ENDS_WITHIN_S = 2.0
"""How long a running duty may take to finish when the worker stops; a longer one is waiting for a store and may be cut
off."""
RENEWALS = 4
"""Renewals within one lease period; config/env.py assumes the same number."""
TIDY_EVERY_S = 1.0
"""How long a thread may keep its database connection."""


@dataclass
class Duty:
    """Work done every `every_s` seconds, and at once when `called`. After a full batch it runs again at once.

    A duty with `busy_s` waits that long after it found at least GOOD_MANY items, and GATHER_S after a few, called or
    not: under load, batches stay large and rounds few.
    """

    name: str
    every_s: float
    act: Callable[[], int]
    busy_s: float = 0.0
    called: threading.Event = field(default_factory=threading.Event)
    complained_at: float = float("-inf")

    def run(self) -> float:
        """Act and return the seconds until the next run. A failure is logged at most every COMPLAIN_EVERY_S."""
        found = 0
        self.called.clear()
        try:
            with traces.work(self.name):
                found = self.act()
        except Exception as reason:
            # The thread must survive the outage of any store.
            if time.monotonic() - self.complained_at > COMPLAIN_EVERY_S:
                self.complained_at = time.monotonic()
                log.warning("duty failed, will retry", duty=self.name, reason=repr(reason))
        return 0.0 if found >= LOOKUP_LIMIT else self.pause(found)

    def pause(self, found: int) -> float:
        """Return the seconds to wait after a run that found this many items."""
        if not self.busy_s or found < FEW:
            return self.every_s
        return max(self.every_s, self.busy_s) if found >= GOOD_MANY else GATHER_S


rebuilding = threading.Lock()


def notice_loss() -> int:
    """Start a rebuild of the live state if Redis has lost data.

    The rebuild has its own thread, so the other duties keep settling open attempts.
    """
    if recovery.noticed() and rebuilding.acquire(blocking=False):
        threading.Thread(target=rebuild, name="rebuild", daemon=True).start()
    return 0


def rebuild() -> None:
    """Rebuild the live state, then release the lock and the database connection."""
    try:
        recovery.recover()
    except Exception as reason:
        # Catch any error: the next `notice_loss` starts the rebuild again.
        log.warning("rebuild failed, will retry", reason=repr(reason))
        time.sleep(REBUILD_AGAIN_S)
    finally:
        close_old_connections()
        rebuilding.release()


def tell() -> int:
    """Mirror pauses and risk limits again, in case Redis was unreachable when an operator changed them."""
    pauses.mirror()
    return 0


def order_duties() -> list[Duty]:
    return [
        Duty("look", LOOK_EVERY_S, settlement.look, busy_s=0.1, called=settlement.watched),
        Duty("renew leases", settings.ORDER_LEASE_MS / 1000 / RENEWALS, hands.renew),
        Duty("sweep", 0.1, sweep),
        Duty("audit", settings.CONFIRM_RESEND_MS / 1000, settlement.audit),
        Duty("notice loss", 0.2, notice_loss),
        expiry(),
    ]


def expiry() -> Duty:
    """Make the duty that expires resting orders on time.

    Both the order and the limit worker run it and share the due orders, so a worker that is frozen or restarting delays
    none.
    """
    return Duty("expire", 0.2, waiting.expire)


def limit_duties() -> list[Duty]:
    """List the limit worker's duties. Resting orders expire on time even if beat is down."""
    return [
        expiry(),
        Duty("tell", 5.0, tell),
        Duty("disconnects", 1.0, disconnects.Watch().look),
        Duty("wake", 0.5, limits.Wakes().look),
        Duty("honesty", honesty.LOOK_EVERY_S, honesty.Watch().look),
        Duty("chain refusals", chain_refusals.LOOK_EVERY_S, chain_refusals.Watch().look),
    ]


def sniper_duties() -> list[Duty]:
    """List the sniper worker's duties. Beat's interval of half a second is too long for a token launch."""
    return [Duty("match", 0.05, sniping.match)]


def dbsync_duties() -> list[Duty]:
    """List DBSync's duties.  A second gathers many orders for one transaction."""
    return [Duty("seal", 1.0, sealing.Walk(dbsync.behind_ms).step)]


class DutyThreads:
    """Runs duties until stopped."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self.duties = duties
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.keep_up, args=[duty], name=duty.name, daemon=True) for duty in duties
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def keep_up(self, duty: Duty) -> None:
        """Run one duty whenever it is due."""
        tidied = time.monotonic()
        while not self.stopping.is_set():
            pause = duty.run()
            if time.monotonic() - tidied > TIDY_EVERY_S:
                tidied = time.monotonic()
                close_old_connections()
            # Being called ends only the pause of a duty that is not busy.
            (duty.called if pause == duty.every_s else self.stopping).wait(pause)
        close_old_connections()

    def stop(self, within_s: float = ENDS_WITHIN_S) -> None:
        """Stop after the running duties; wait up to `within_s` for them to finish."""
        self.stopping.set()
        for duty in self.duties:
            duty.called.set()
        deadline = time.monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
