"""Cancel the resting orders of any account that match an operator's terms: counted before, page by page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.utils import timezone

from engine import event_kinds
from engine.orders import OrderType
from orders.flow import waiting
from orders.flow.waiting import Cancelled
from orders.models import WAITING, Order
from orders.stores.ids import first_at
from orders.stores.terms import epoch_ms
from routing.catalogue import UnknownPair

COUNT_MAX = 100_000
"""Resting orders that are counted; more are said to be more."""
KINDS = (OrderType.LIMIT, OrderType.SNIPER)


class CannotMatch(ValueError):
    """There is no such owner or pair; the message says which."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Which resting orders: those that match every term given, all if none is. `before` is when they were placed."""

    owner: str = ""
    pair: str = ""
    kind: OrderType | None = None
    before: datetime | None = None

    def __str__(self) -> str:
        what = f"resting {self.kind or ''} orders".replace("  ", " ")
        of, within = f" of {self.owner}" if self.owner else "", f" in {self.pair}" if self.pair else ""
        return f"{what}{of}{within}{f' placed before {self.before:%Y-%m-%d %H:%M:%S} UTC' if self.before else ''}"


def older_than(span: timedelta) -> datetime:
    """Return the time before which orders older than this were placed."""
    return timezone.now() - span


def matching(terms: Terms) -> Q:
    """Return the filter for orders that match.

    Raises CannotMatch.
    """
    which = Q(type=terms.kind) if terms.kind else Q()
    if terms.owner:
        user = get_user_model().objects.filter(username=terms.owner).first()
        if user is None:
            raise CannotMatch(f"there is no user {terms.owner!r}")
        which &= Q(owner=user.pk)
    if terms.pair:
        try:
            which &= waiting.of_pair(terms.pair)
        except UnknownPair:
            raise CannotMatch(f"there is no pair {terms.pair!r}; pairs are named like SOL-USDC") from None
    # An order's id begins with the time at which it was accepted.
    return which & Q(pk__lt=first_at(epoch_ms(terms.before))) if terms.before else which


def count(terms: Terms) -> int:
    """Count the matching orders that rest according to Postgres; COUNT_MAX + 1 stands for more than COUNT_MAX.

    Raises CannotMatch, DatabaseError.
    """
    return Order.objects.filter(WAITING, matching(terms))[: COUNT_MAX + 1].count()


def counted(number: int) -> str:
    """Write what `count` returned."""
    return f"more than {COUNT_MAX:,}" if number > COUNT_MAX else f"{number:,}"


def cancel(terms: Terms, reason: str) -> Iterator[Cancelled]:
    """Cancel the matching orders; yield what is done so far before each page, and at the end as complete.

    Their owners read the reason. Raises CannotMatch, StoreError, DatabaseError; what was done by then stands.
    """
    end = event_kinds.Cancelled(f"cancelled by the operator: {reason}")
    return waiting.cancel_pages(matching(terms), end)


def outcome(done: Cancelled) -> str:
    """Say what a cancellation came to, for whoever asked for it and for the audit log."""
    left = "" if done.complete else "; stopped before the end, some are left"
    return f"{done.cancelled:,} cancelled, {done.lost:,} no longer resting{left}"
