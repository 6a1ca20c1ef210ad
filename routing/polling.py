"""Keeping quotes current: a poll whenever beat says so, and a watchdog for when nobody asks for one.

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
"""Silence after which quotes are polled directly, whoever is at fault; two polls' time, where that is longer."""


Names = Callable[[], Iterable[str]]
"""Returns the names of pairs somebody waits for, whether or not they still take new orders."""


def nobody() -> Iterable[str]:
    """Return no pair."""
    return ()


def poll(awaited: Names = nobody, every_ms: int = POLL_MS) -> bool:
    """Poll because beat says so, as it does every so often; False when another worker has just done so."""
    redis().mset({ASKED_AT: now_ms(), EVERY_MS: every_ms})
    return start(awaited, every_ms)


def start(awaited: Names, every_ms: int) -> bool:
    """Start one poll of all venues, active pairs and those awaited, unless another worker has just done so."""
    # Half the interval: a message that comes twice polls once, and one that comes late does not swallow the next.
    if not redis().set(TICK, "1", nx=True, px=every_ms // 2):
        return False
    known = catalogue()
    asker().poll_ms = every_ms
    waited_for = {name: known.pairs[name] for name in awaited() if name in known.pairs}
    asker().poll({**known.active, **waited_for}.values())
    let_the_market_act()
    return True


def let_the_market_act() -> None:
    """Have the sandbox tell what happened since the last poll; whatever fails there must not stop the quotes."""
    try:
        stage.emit(now_ms())
    except Exception as reason:
        log.warning("sandbox market not told", reason=repr(reason))


class Watchdog(threading.Thread):
    """Polls when no poll came for WATCHDOG_S: beat, the broker or the queue is stuck, and orders need prices."""

    def __init__(self, awaited: Names = nobody) -> None:
        super().__init__(name="quote watchdog", daemon=True)
        self.awaited = awaited
        self.stopping = threading.Event()

    def run(self) -> None:
        """Look now and then whether polls are still asked for."""
        while not self.stopping.wait(WATCHDOG_S):
            try:
                self.stand_in()
            except Exception as reason:
                # It watches over everything else, so it must outlive any store's outage.
                log.warning("watchdog failed, will look again", reason=repr(reason))
            finally:
                close_old_connections()

    def stand_in(self) -> None:
        """Poll at the usual pace until somebody asks for polls again."""
        if silent():
            log.warning("no poll was asked for, polling directly", silent_s=WATCHDOG_S)
        while silent() and not self.stopping.wait(pace() / 1000):
            start(self.awaited, pace())

    def stop(self) -> None:
        """End at the next look."""
        self.stopping.set()


def pace() -> int:
    """Return how often beat last said it would ask for polls, in milliseconds."""
    return int(redis().get(EVERY_MS) or POLL_MS)


def silent() -> bool:
    """Tell whether no poll was asked for when one, or for long two, should have been."""
    asked_at = redis().get(ASKED_AT)
    return asked_at is None or now_ms() - int(asked_at) > max(WATCHDOG_S * 1000, 2 * pace())
