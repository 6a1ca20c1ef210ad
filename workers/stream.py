"""The stream worker: keeps quotes and BEST current, and wakes the limit worker for orders they reach."""

from celery import shared_task

from orders.flow import dispatch
from orders.flow.price_watch import PriceWatch
from orders.stores import book
from routing import polling
from routing.asking import POLL_MS, asker
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.POLL, base=EngineTask)
def poll(*, every_ms: int = POLL_MS, **_: object) -> None:
    """Ask every venue for every active pair. Answers are cached as they arrive."""
    polling.poll(book.pairs, every_ms)


def price_watch() -> PriceWatch:
    """Make the price watch; it is called with each quote that is stored."""
    made = PriceWatch()
    asker().stored = made.price_changed
    return made


watchdog = Beside("stream", lambda: polling.Watchdog(book.pairs))
watch = Beside("stream", price_watch)
