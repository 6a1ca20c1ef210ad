"""The limit worker: fires limit orders whose price is reached; its pulse ends waiting orders whose time has passed."""

from typing import Any

from celery import shared_task, signals

from orders import dispatch, limits, stocktaking, waiting
from orders.pulse import Pulse, limit_duties
from workers.base import EngineTask

PULSE_ENDS_WITHIN_S = 2.0


@shared_task(name=dispatch.FIRE, base=EngineTask)
def fire(*, pairs: list[str] | None = None, order_ids: list[str] | None = None, **_: object) -> None:
    """Fire what the price of these pairs has reached, and these orders now or never."""
    for pair in pairs or []:
        limits.fire(pair)
    limits.fire_or_cancel(order_ids or [])


@shared_task(name=dispatch.CHECK, base=EngineTask)
def check(**_: object) -> None:
    """Fire and expire whatever is due on any pair."""
    limits.check()
    waiting.expire()


@shared_task(name=dispatch.AUDIT, base=EngineTask)
def audit(**_: object) -> None:
    """Compare the book with Postgres."""
    stocktaking.take()


@signals.worker_ready.connect
def start_pulse(sender: Any, **_: object) -> None:
    """Start the heartbeat where this worker's queue is consumed."""
    if "limit" in sender.app.amqp.queues.consume_from:
        sender.limit_pulse = Pulse(limit_duties())
        sender.limit_pulse.start()


@signals.worker_shutdown.connect
def stop_pulse(sender: Any, **_: object) -> None:
    """End the heartbeat before the process takes its connections away."""
    if pulse := getattr(sender.consumer, "limit_pulse", None):
        pulse.stop(PULSE_ENDS_WITHIN_S)
