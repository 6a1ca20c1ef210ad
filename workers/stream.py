"""The stream worker: keeps every pair's quotes and BEST current, and rings for the limit orders they reach."""

from typing import Any

from celery import shared_task, signals

from orders import book, dispatch
from orders.bell import Bell
from routing import polling
from routing.asking import asker
from workers.base import EngineTask


@shared_task(name=dispatch.POLL, base=EngineTask)
def poll(**_: object) -> None:
    """Ask every venue for every active pair; the answers go into the cache when they come."""
    polling.poll(book.pairs)


@signals.worker_ready.connect
def start_watchdog(sender: Any, **_: object) -> None:
    """Watch over the polls, and listen to the quotes, where this worker's queue is consumed."""
    if "stream" in sender.app.amqp.queues.consume_from:
        sender.watchdog = polling.Watchdog(book.pairs)
        sender.watchdog.start()
        sender.bell = Bell()
        sender.bell.start()
        asker().stored = sender.bell.strike


@signals.worker_shutdown.connect
def stop_watchdog(sender: Any, **_: object) -> None:
    """End the watch with the worker."""
    if bell := getattr(sender.consumer, "bell", None):
        bell.stop()
    if watchdog := getattr(sender.consumer, "watchdog", None):
        watchdog.stop()
