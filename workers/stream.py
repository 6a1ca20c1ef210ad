"""The stream worker: keeps every pair's quotes and BEST current, and rings for the limit orders they reach."""

from celery import shared_task

from orders.flow import dispatch
from orders.flow.price_watch import Bell
from orders.stores import book
from routing import polling
from routing.asking import POLL_MS, asker
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.POLL, base=EngineTask)
def poll(*, every_ms: int = POLL_MS, **_: object) -> None:
    """Ask every venue for every active pair; the answers go into the cache when they come."""
    polling.poll(book.pairs, every_ms)


def hung() -> Bell:
    """Make the bell, and have it struck with each quote that is stored."""
    made = Bell()
    asker().stored = made.strike
    return made


watchdog = Beside("stream", lambda: polling.Watchdog(book.pairs))
bell = Beside("stream", hung)
