"""Cancel, expire, fail and amend: Postgres commits these before clients are told.

There are three steps. The live order is *reserved* in Redis: it leaves the book, nothing can move it, and the intended
change is stored in its hash. Postgres *commits* the end or the new terms together with every event so far, unless it
knows a reason not to: a sent transaction may still land, the order has ended, or Redis has lost data. Then clients are
*told*: the events are published. Any worker that finds a reservation whose holder has gone repeats the same steps;
Postgres recognises what it has already committed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, transaction

from engine.lifecycle import FINAL, AttemptState, Status
from orders import models
from orders.flow import restoring
from orders.stores import balances, event_codec, event_rows, order_codec, swaps, terms, trading_holds
from orders.stores.balances import Short
from orders.stores.rows import fetch, recordset
from orders.stores.swaps import Becoming, Reservation, Where
from routing import epochs
from routing.crashpoints import Store, step

log = structlog.get_logger(__name__)

SENT = [AttemptState.SENT.value, AttemptState.LANDED.value]
"""Attempt states that rule out any other end."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An end or an amendment: where the order stands, where it goes, and the events that tell clients."""

    where: Where
    becoming: Becoming
    events: tuple[str, ...]
    terms_before: int | None = None
    """The version of the terms that an amendment changes."""


class Intent(msgspec.Struct, frozen=True):
    """What an order is reserved for, as stored in its hash; `token` makes each reservation unique."""

    token: str
    epoch: int
    to: Status
    look_in_ms: int = 0
    body: str | None = None
    terms_before: int | None = None

    @property
    def becoming(self) -> Becoming:
        """The order's state once this is committed."""
        return Becoming(self.to, self.look_in_ms, body=self.body)


class Refusal(Enum):
    """Why Postgres did not commit; the value completes the phrase "not committed: "."""

    SENT = "a transaction of it may still land"
    ENDED = "it has ended otherwise"
    CHANGED = "it has moved on in Postgres"
    STALE = "Redis has been lost since"
    SHORT = "the account's balance does not cover it"
    FAULTY = "Postgres cannot write it"


def decide(asked_in: Callable[[int], Sequence[Decision]]) -> dict[str, tuple[str, ...]]:
    """Reserve, commit and publish decisions in the current epoch; return the events of those that succeeded.

    Raises StoreError, DatabaseError. Reservations made before the error are completed by whichever worker finds them.
    """

    def reserve(epoch: int) -> list[Reservation]:
        asked = [(one.where, intent_of(one, epoch), one.events) for one in asked_in(epoch)]
        return swaps.reserve(epoch, settings.ORDER_LEASE_MS, asked)

    return carry_out(epochs.within(reserve))


def intent_of(one: Decision, epoch: int) -> str:
    """Encode the intent stored with a reservation."""
    to, look_in_ms, body = one.becoming.to, one.becoming.look_in_ms, one.becoming.body
    return msgspec.json.encode(Intent(uuid4().hex, epoch, to, look_in_ms, body, one.terms_before)).decode()


def complete(order_ids: Sequence[str]) -> None:
    """Complete the reservations found on these orders, whoever made them.

    Raises StoreError, DatabaseError.
    """
    carry_out(swaps.reserved(order_ids))


def carry_out(reserved: Sequence[Reservation]) -> dict[str, tuple[str, ...]]:
    """Commit what orders are reserved for and publish it; return the events of the committed ones.

    A reservation Postgres refuses is released, and its order is restored from Postgres.
    """
    if not reserved:
        return {}
    intents = {one.order_id: msgspec.json.decode(one.intent, type=Intent) for one in reserved}
    refused = committed(reserved, intents)
    done = [(one, intents[one.order_id].becoming, one.order_id not in refused) for one in reserved]
    try:
        epochs.within(lambda epoch: swaps.finish(epoch, done))
    except epochs.Unverified:
        # The commit stands. The process that now compares Redis with Postgres publishes it.
        log.warning("ends will be published once redis is verified", orders=len(done))
    for order_id, reason in refused.items():
        log.warning("order not ended or amended", order_id=order_id, reason=reason.value)
    restoring.restore(list(refused), "contradicted Postgres")
    return {one.order_id: one.events for one in reserved if one.order_id not in refused}


def committed(reserved: Sequence[Reservation], intents: Mapping[str, Intent]) -> dict[str, Refusal]:
    """Write ends and amendments; return those refused. One that cannot be written does not block the others."""
    try:
        return commit(reserved, intents)
    except Short:
        if len(reserved) == 1:
            return {reserved[0].order_id: Refusal.SHORT}
    except (DataError, IntegrityError) as reason:
        if len(reserved) == 1:
            log.error("end or amendment cannot be written", order_id=reserved[0].order_id, reason=str(reason).strip())
            return {reserved[0].order_id: Refusal.FAULTY}
    middle = len(reserved) // 2
    return committed(reserved[:middle], intents) | committed(reserved[middle:], intents)


@step("decide", Store.POSTGRES, "an end or amendment is committed")
def commit(reserved: Sequence[Reservation], intents: Mapping[str, Intent]) -> dict[str, Refusal]:
    """Write ends and amendments with all their events in one transaction; return those refused.

    Rows are locked in id order, which serialises this with `attempts.prepare`: either the attempt commits first and
    bars the end once it is sent, or the end commits first and bars the attempt.
    """
    ids = sorted(one.order_id for one in reserved)
    with transaction.atomic():
        rows = {
            str(row["pk"]): row
            for row in models.Order.objects.select_for_update()
            .filter(pk__in=ids)
            .order_by("pk")
            .values("pk", "status", "seq", "epoch", "terms_seq")
        }
        newest = epochs.newest()
        last = {one.order_id: event_codec.load(one.events[-1]) for one in reserved}
        done = already_committed(last)
        stand = [i for i in ids if i not in done]
        refused = {i: why for i in stand if (why := refusal(rows.get(i), last[i], intents[i], newest))}
        going = [order_id for order_id in stand if order_id not in refused]
        withdraw(going)
        refused |= dict.fromkeys(sent(going), Refusal.SENT)
        write([one for one in reserved if one.order_id in going and one.order_id not in refused], intents)
    return refused


def already_committed(last: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the orders whose end or amendment Postgres already has: another worker completed it."""
    rows = fetch(
        """
        SELECT e.order_id::text FROM orders_orderevent e
        JOIN json_to_recordset(%s) AS a(id uuid, epoch int, seq int, at timestamptz)
          ON e.order_id = a.id AND e.seq = a.seq AND e.epoch = a.epoch AND e.at = a.at
        """,
        recordset({"id": i, "epoch": e["epoch"], "seq": e["seq"], "at": e["at"]} for i, e in last.items()),
    )
    return {order_id for (order_id,) in rows}


def refusal(
    row: Mapping[str, Any] | None, event: Mapping[str, Any], intent: Intent, newest_epoch: int
) -> Refusal | None:
    """Return why an order may not end or be amended this way, or None if it may."""
    if row is None or row["status"] in models.FINALS:
        return Refusal.ENDED
    if intent.epoch != newest_epoch:
        return Refusal.STALE
    changed = intent.terms_before is not None and intent.terms_before != row["terms_seq"]
    if changed or (row["epoch"], row["seq"]) >= (event["epoch"], event["seq"]):
        return Refusal.CHANGED
    return None


def withdraw(order_ids: Sequence[str]) -> None:
    """Withdraw attempts that were committed and never sent: the worker that made them has lost the order."""
    fetch(
        """
        UPDATE orders_attempt SET state = 'withdrawn', settled_at = now()
        WHERE order_id = ANY(%s::uuid[]) AND state = 'prepared'
        """,
        list(order_ids),
    )


def sent(order_ids: Sequence[str]) -> list[str]:
    """Return the orders that have a sent or landed transaction."""
    rows = fetch(
        "SELECT order_id::text FROM orders_attempt WHERE order_id = ANY(%s::uuid[]) AND state = ANY(%s)",
        list(order_ids),
        SENT,
    )
    return [order_id for (order_id,) in rows]


def write(reserved: Sequence[Reservation], intents: Mapping[str, Intent]) -> None:
    if not reserved:
        return
    event_rows.write_history([*one.before, *one.events] for one in reserved)
    ended = [one.order_id for one in reserved if intents[one.order_id].to in FINAL]
    trading_holds.release(ended)
    amended = [
        order_codec.order_from(order_codec.loads(body)) for one in reserved if (body := intents[one.order_id].body)
    ]
    balances.reserve({**dict.fromkeys(ended, 0), **{order.id: order.amount_in for order in amended}})
    terms.save(amended)
