"""Keep quotes current: poll when Celery beat requests it, with a watchdog that polls when no requests arrive.

Owner of the keys `stream:…`.
"""

import threading
from collections.abc import Callable, Iterable

import structlog
from django.db import close_old_connections

from routing.asking import POLL_MS, asker
from routing.catalogue import catalogue
from routing.sandbox import stage
from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

TICK = "stream:tick"
ASKED_AT = "stream:asked_at"
EVERY_MS = "stream:every_ms"
WATCHDOG_S = 2.0
"""Time without a poll request after which quotes are polled directly; two polling intervals, if that is longer."""


Names = Callable[[], Iterable[str]]
"""Returns the names of pairs that orders wait on, whether or not they still accept new orders."""


def nobody() -> Iterable[str]:
    """Return no pairs."""
    return ()


def poll(awaited: Names = nobody, every_ms: int = POLL_MS) -> bool:
    """Poll on request of beat, which asks every `every_ms`; False if another worker has just polled."""
    redis().mset({ASKED_AT: now_ms(), EVERY_MS: every_ms})
    return start(awaited, every_ms)


def start(awaited: Names, every_ms: int) -> bool:
    """Start one poll of all venues for active and awaited pairs, unless another worker has just done so."""
    # Half the interval: a duplicate message polls once, and a late message does not suppress the next one.
    if not redis().set(TICK, "1", nx=True, px=every_ms // 2):
        return False
    known = catalogue()
    asker().poll_ms = every_ms
    waited_for = {name: known.pairs[name] for name in awaited() if name in known.pairs}
    asker().poll({**known.active, **waited_for}.values())
    let_the_market_act()
    return True


def let_the_market_act() -> None:
    """Publish the sandbox's market events since the last poll; a failure there must not stop the quotes."""
    try:
        stage.emit(now_ms())
    except Exception as reason:
        log.warning("sandbox market events not published", reason=repr(reason))


class Watchdog(threading.Thread):
    """Polls if no request came for WATCHDOG_S: beat, the broker or the queue is stuck, and orders need prices."""

    def __init__(self, awaited: Names = nobody) -> None:
        super().__init__(name="quote watchdog", daemon=True)
        self.awaited = awaited
        self.stopping = threading.Event()

    def run(self) -> None:
        """Check every WATCHDOG_S whether poll requests still arrive."""
        while not self.stopping.wait(WATCHDOG_S):
            try:
                self.stand_in()
            except Exception as reason:
                # The watchdog must survive an outage of any store.
                log.warning("watchdog failed, will retry", reason=repr(reason))
            finally:
                close_old_connections()

    def stand_in(self) -> None:
        """Poll at the usual interval until poll requests arrive again."""
        if silent():
            log.warning("no poll requested, polling directly", silent_s=WATCHDOG_S)
        while silent() and not self.stopping.wait(pace() / 1000):
            start(self.awaited, pace())

    def stop(self) -> None:
        """Stop the thread; takes effect at once if it is waiting."""
        self.stopping.set()


def pace() -> int:
    """Return the polling interval that beat last announced, in milliseconds."""
    return int(redis().get(EVERY_MS) or POLL_MS)


def silent() -> bool:
    """Tell whether no poll was requested for WATCHDOG_S, or for two polling intervals if that is longer."""
    asked_at = redis().get(ASKED_AT)
    return asked_at is None or now_ms() - int(asked_at) > max(WATCHDOG_S * 1000, 2 * pace())
