"""The stream worker: keeps quotes and BEST current, records them, and wakes the limit worker for orders they reach."""

from celery import shared_task
from django.db import close_old_connections

from orders.flow import dispatch
from orders.flow.duties import ENDS_WITHIN_S, Duty, DutyThreads
from orders.flow.price_watch import PriceWatch
from orders.stores import book
from routing import polling
from routing.asking import POLL_MS, asker
from routing.breakers import JUDGE_EVERY_S, Breakers
from routing.recording import Recorder
from workers.base import Beside, EngineTask

RECORD_EVERY_S = 0.2
"""How long a second may have been over until it is saved."""


@shared_task(name=dispatch.POLL, base=EngineTask)
def poll(*, every_ms: int = POLL_MS, **_: object) -> None:
    """Ask every venue for every active pair. Answers are cached as they arrive."""
    polling.poll(book.pairs, every_ms)


def price_watch() -> PriceWatch:
    """Make the price watch; it is called with each quote that is stored."""
    made = PriceWatch()
    asker().stored.append(lambda stored: made.price_changed(stored.quote.pair))
    return made


class Recording(DutyThreads):
    """Saves each second of prices once it is over, and what is left when the worker stops."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        super().__init__([Duty("record prices", RECORD_EVERY_S, self.recorder.save)])
        asker().stored.append(self.recorder.note)

    def stop(self, within_s: float = ENDS_WITHIN_S) -> None:
        super().stop(within_s)
        try:
            self.recorder.save_all()
        finally:
            close_old_connections()


def judging() -> DutyThreads:
    """Make the breakers fed by the venues' answers to polls."""
    made = Breakers("its quotes failed or were late")
    asker().heard.append(made.hear)
    return DutyThreads([Duty("judge venues", JUDGE_EVERY_S, made.judge)])


recording = Beside("stream", Recording)
breakers = Beside("stream", judging)
watchdog = Beside("stream", lambda: polling.Watchdog(book.pairs))
watch = Beside("stream", price_watch)
