"""The stream worker: keeps every pair's quotes and BEST current."""

from typing import Any

from celery import shared_task, signals

from orders import dispatch
from routing import polling
from workers.base import EngineTask


@shared_task(name=dispatch.POLL, base=EngineTask)
def poll(**_: object) -> None:
    """Ask every venue for every active pair; the answers go into the cache when they come."""
    polling.poll()


@signals.worker_ready.connect
def start_watchdog(sender: Any, **_: object) -> None:
    """Watch over the polls where this worker's queue is consumed."""
    if "stream" in sender.app.amqp.queues.consume_from:
        sender.watchdog = polling.Watchdog()
        sender.watchdog.start()


@signals.worker_shutdown.connect
def stop_watchdog(sender: Any, **_: object) -> None:
    """End the watch with the worker."""
    if watchdog := getattr(sender.consumer, "watchdog", None):
        watchdog.stop()
