"""The DBSync worker: writes every event from Redis to Postgres."""

from celery import shared_task

from orders.flow import dbsync, dispatch
from workers.base import EngineTask


@shared_task(name=dispatch.DRAIN, base=EngineTask)
def drain(**_: object) -> None:
    """Write the event feed to Postgres until it is empty."""
    dbsync.drain(dbsync.ROUND_EVERY_S)
