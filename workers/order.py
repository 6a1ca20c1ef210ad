"""The order worker: executes orders from a wake-up to `submitted`; its duties settle and recover them."""

from celery import shared_task

from orders.flow import dispatch, execution, recovery
from orders.flow.duties import DutyThreads, order_duties
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.EXECUTE, base=EngineTask)
def execute(*, order_ids: list[str], **_: object) -> None:
    """Execute these orders up to `submitted`."""
    execution.carry(order_ids)


@shared_task(name=dispatch.RECOVER, base=EngineTask)
def recover(**_: object) -> None:
    """Repair Redis from Postgres."""
    recovery.recover()


duties = Beside("order", lambda: DutyThreads(order_duties()))
