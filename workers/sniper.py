"""The sniper worker: fires armed orders on the market's events."""

from celery import shared_task

from orders import dispatch, sniping
from workers.base import EngineTask


@shared_task(name=dispatch.MATCH, base=EngineTask)
def match(**_: object) -> None:
    """Look at the market events nobody has looked at yet."""
    sniping.match()


@shared_task(name=dispatch.EVALUATE, base=EngineTask)
def evaluate(*, order_ids: list[str], **_: object) -> None:
    """Look at orders just armed: what they wait for may be there already."""
    sniping.evaluate(order_ids)
