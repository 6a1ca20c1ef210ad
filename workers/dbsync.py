"""The DBSync worker: writes every event from Redis to Postgres; its duty seals orders that have ended."""

from celery import shared_task

from orders.flow import dbsync, dispatch
from orders.flow.duties import DutyThreads, dbsync_duties
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.DRAIN, base=EngineTask)
def drain(**_: object) -> None:
    """Write the event feed to Postgres until it is empty."""
    dbsync.drain(dbsync.ROUND_EVERY_S)


duties = Beside("dbsync", lambda: DutyThreads(dbsync_duties()))
