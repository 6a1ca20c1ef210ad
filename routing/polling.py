"""Keeping quotes current: a poll every half second, and a watchdog for when nobody asks for one."""

import threading

import structlog
from django.db import close_old_connections

from routing.asking import POLL_MS, asker
from routing.catalogue import catalogue
from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

TICK = "stream:tick"
ASKED_AT = "stream:asked_at"
WATCHDOG_S = 2.0
"""Silence after which quotes are polled directly, whoever is at fault."""


def poll() -> bool:
    """Poll because beat says so; False when another worker has just done so."""
    redis().set(ASKED_AT, now_ms())
    return start()


def start() -> bool:
    """Start one poll of all venues and active pairs, unless another worker has just done so."""
    # Half the interval: a message that comes twice polls once, and one that comes late does not swallow the next.
    if not redis().set(TICK, "1", nx=True, px=POLL_MS // 2):
        return False
    asker().poll(catalogue().active.values())
    return True


class Watchdog(threading.Thread):
    """Polls when no poll came for WATCHDOG_S: beat, the broker or the queue is stuck, and orders need prices."""

    def __init__(self) -> None:
        super().__init__(name="quote watchdog", daemon=True)
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
        while silent() and not self.stopping.wait(POLL_MS / 1000):
            start()

    def stop(self) -> None:
        """End at the next look."""
        self.stopping.set()


def silent() -> bool:
    """Tell whether no poll was asked for during WATCHDOG_S."""
    asked_at = redis().get(ASKED_AT)
    return asked_at is None or now_ms() - int(asked_at) > WATCHDOG_S * 1000
