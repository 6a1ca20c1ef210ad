"""The sniper worker: fires armed orders on market events, which a duty reads."""

from celery import shared_task

from orders.flow import dispatch, sniping
from orders.flow.duties import DutyThreads, sniper_duties
from workers.base import Beside, EngineTask


@shared_task(name=dispatch.MATCH, base=EngineTask)
def match(**_: object) -> None:
    """Process all unprocessed market events."""
    sniping.match()


@shared_task(name=dispatch.EVALUATE, base=EngineTask)
def evaluate(*, order_ids: list[str], **_: object) -> None:
    """Check orders that were just armed: what they wait for may be there already."""
    sniping.evaluate(order_ids)


duties = Beside("sniper", lambda: DutyThreads(sniper_duties()))
