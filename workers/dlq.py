"""The dead-letter worker: keeps dead letters, retires orders that ended long ago, and delivers events to webhooks."""

from celery import shared_task

from orders.flow import dead_letters, dispatch
from orders.operations import retention
from orders.operations.webhooks import Deliverer
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.KEEP, base=EngineTask)
def keep(*, order_ids: list[str] | None = None, **_: object) -> None:
    """Store the dead letters of these orders; without ids, of all failed orders that lack one."""
    dead_letters.keep(order_ids or dead_letters.missing())


@shared_task(name=dispatch.RETIRE, base=EngineTask)
def retire(**_: object) -> None:
    """Retire a batch of the orders that ended long ago."""
    retention.retire()


webhooks = Beside("dlq", Deliverer)
