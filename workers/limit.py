"""The limit worker: fires limit orders whose price is reached; its duties end expired orders."""

from celery import shared_task

from orders.flow import dispatch, limits, waiting
from orders.flow.duties import DutyThreads, limit_duties
from orders.operations import reconciliation
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.FIRE, base=EngineTask)
def fire(*, pairs: list[str] | None = None, order_ids: list[str] | None = None, **_: object) -> None:
    """Fire the orders that these pairs' prices have reached; fire or cancel these IOC orders."""
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
    """Reconcile the book with Postgres."""
    reconciliation.take()


duties = Beside("limit", lambda: DutyThreads(limit_duties()))
