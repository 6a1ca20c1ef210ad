"""Rows for tests that look at rows; the engine's own tests let the engine write them."""

from datetime import UTC, datetime
from uuid import UUID

import factory
from factory.django import DjangoModelFactory
from uuid6 import uuid7

from orders import models
from orders.models import Verdict
from orders.stores.ids import first_at

RANDOM = 2**80 - 1
"""The bits of a version 7 UUID that are not its time: version, variant and chance."""
UNFILLED = ("failed", "cancelled", "expired")


class OrderFactory(DjangoModelFactory):
    """A market order for 1.5 SOL, just accepted."""

    class Meta:
        model = models.Order

    # Made when it was created, as ids are: lists go by that.
    id = factory.LazyAttribute(
        lambda order: UUID(int=first_at(int(order.created_at.timestamp() * 1000)).int | uuid7().int & RANDOM)
    )
    type = "market"
    pair = "SOL-USDC"
    amount_in = 1_500_000_000
    slippage_bps = 50
    fingerprint = "0" * 64
    created_at = factory.LazyFunction(lambda: datetime.now(UTC))
    updated_at = factory.SelfAttribute("created_at")
    status = "pending"
    closed_at = factory.LazyAttribute(lambda order: order.created_at if order.status in UNFILLED else None)


class OrderEventFactory(DjangoModelFactory):
    """An archived event; the facts are the test's to give."""

    class Meta:
        model = models.OrderEvent

    order = factory.SubFactory(OrderFactory)
    seq = 1
    status = "pending"
    at = factory.LazyFunction(lambda: datetime.now(UTC))
    attempt = 1
    facts = factory.LazyFunction(dict)


class AttemptFactory(DjangoModelFactory):
    """A landed attempt."""

    class Meta:
        model = models.Attempt

    order = factory.SubFactory(OrderFactory)
    number = 1
    state = "landed"
    venue = "METEORA"
    signature = factory.Sequence(lambda n: f"{n:05}signature")
    raw = b""
    last_valid_height = 1_000
    expected_out = 232_000_000
    minimum_out = 230_840_000
    fee_bps = 20
    seq = 4
    trail = factory.LazyFunction(list)
    sends = 1


class DeadLetterFactory(DjangoModelFactory):
    """The letter of an order that no venue would quote; safe to replay."""

    class Meta:
        model = models.DeadLetter

    order = factory.SubFactory(OrderFactory, status="failed")
    code = "no_quote"
    reason = "no venue has quoted this pair"
    replay_may_help = True
    verdict = Verdict.SAFE

    @factory.lazy_attribute
    def history(self):
        """Return the shortest life that ends in failure."""
        common = {"orderId": str(self.order.id), "attempt": 0}
        end = {"code": self.code, "message": self.reason, "replayMayHelp": self.replay_may_help}
        return [
            common | {"seq": 1, "status": "pending", "at": "2026-11-22T12:00:00.000Z"},
            common | {"seq": 2, "status": "failed", "at": "2026-11-22T12:00:01.250Z"} | end,
        ]
