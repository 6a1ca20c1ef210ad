"""The order worker: carries orders from a wake-up to `submitted`; its pulse settles and recovers them."""

from typing import Any

from celery import shared_task, signals

from orders import dispatch, execution, recovery
from orders.pulse import Pulse, order_duties
from workers.base import EngineTask

PULSE_ENDS_WITHIN_S = 2.0
"""A duty in hand when the worker stops; longer ones are waiting for a store and may be cut off."""


@shared_task(name=dispatch.EXECUTE, base=EngineTask)
def execute(*, order_ids: list[str], **_: object) -> None:
    """Carry these orders as far as submitted."""
    execution.carry(order_ids)


@shared_task(name=dispatch.RECOVER, base=EngineTask)
def recover(**_: object) -> None:
    """Repair Redis from Postgres."""
    recovery.recover()


@signals.worker_ready.connect
def start_pulse(sender: Any, **_: object) -> None:
    """Start the heartbeat where this worker's queue is consumed."""
    if "order" in sender.app.amqp.queues.consume_from:
        sender.pulse = Pulse(order_duties())
        sender.pulse.start()


@signals.worker_shutdown.connect
def stop_pulse(sender: Any, **_: object) -> None:
    """End the heartbeat after the last task and before the process takes its connections away."""
    if pulse := getattr(sender.consumer, "pulse", None):
        pulse.stop(PULSE_ENDS_WITHIN_S)
