"""Of two things that happen to a waiting order at once, one wins."""

import random
import threading
from decimal import Decimal

from django.db import connection

from engine.lifecycle import Status
from engine.orders import TimeInForce
from orders import models
from orders.flow import limits, progress, waiting
from orders.stores import live
from routing import epochs
from routing.store import now_ms, redis
from tests.orders.book import PAIR, amend, bucket, in_the_book

ROUNDS = 1_000


def race(bench, first, second):
    """Have two threads act on each of ROUNDS orders at once; return what each was told, by order."""
    ids = [order_id for _ in range(ROUNDS // 100) for order_id in bench.accept(*(make(bench) for _ in range(100)))]
    told = ({}, {})
    gate = threading.Barrier(2)

    def act(number, what):
        chance = random.Random(number)
        try:
            for order_id in ids:
                gate.wait(30)
                # Neither is always first: anything from nothing to a few milliseconds ahead of the other.
                for _ in range(chance.randrange(2 ** chance.randrange(17))):
                    pass
                told[number][order_id] = what(order_id)
        except BaseException:
            gate.abort()
            raise
        finally:
            connection.close()

    racers = [threading.Thread(target=act, args=pair) for pair in enumerate((first, second))]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(300)
    assert len(told[0]) == len(told[1]) == ROUNDS
    bench.archive()
    return ids, told


def make(bench):
    return bench.limit("150", expires_at=now_ms() + 3_600_000, time_in_force=TimeInForce.GTD)


def trigger(order_id):
    """Claim this one order, unless somebody was quicker, and fire it."""
    if not redis().zrem("limit_bucket:{SOL-USDC}:150", order_id):
        return
    sighted = limits.Sighting(15_000, "METEORA", Decimal("150"), now_ms(), now_ms(), 1)
    limits.trigger(limits.Claim("race", PAIR, (order_id,), sighted, epochs.current()))


def cancel(order_id):
    try:
        waiting.cancel(order_id)
    except waiting.NotResting as refused:
        return refused.status
    return "done"


def change(order_id):
    try:
        amend(order_id, limit_price=Decimal("170"))
    except waiting.NotResting as refused:
        return refused.status
    except waiting.Changed:
        return "changed"
    return "done"


def expire(order_id):
    one = live.standing([order_id])[order_id]
    if one.status is Status.PENDING:
        progress.advance([waiting.expiry(one)])


def outcomes(bench, ids):
    """Return each order's statuses by its events, after comparing them with Postgres."""
    rows = models.Order.objects.in_bulk(ids)
    archived = {order_id: [] for order_id in ids}
    for order_id, seq, status in models.OrderEvent.objects.order_by("order_id", "seq").values_list(
        "order_id", "seq", "status"
    ):
        archived[str(order_id)].append(status)
        assert len(archived[str(order_id)]) == seq
    found = {}
    for order_id in ids:
        statuses = bench.statuses(order_id)
        row = rows[type(next(iter(rows)))(order_id)]
        assert archived[order_id] == statuses and row.status == statuses[-1]
        # Only an order that ended is closed; one that fired must be able to settle.
        assert (row.closed_at is not None) == (statuses[-1] in ("cancelled", "expired"))
        found[order_id] = statuses
    return found


def both_happen(found, one, other):
    wins = {tuple(statuses[1:]) for statuses in found.values()}
    assert wins == {one, other}, wins


def test_a_cancellation_racing_a_trigger_has_one_outcome_and_the_client_is_told_it(bench):
    ids, (_, told) = race(bench, trigger, cancel)
    found = outcomes(bench, ids)
    for order_id in ids:
        assert found[order_id] == ["pending", {"done": "cancelled"}.get(told[order_id], told[order_id])]
    both_happen(found, ("triggered",), ("cancelled",))


def test_an_amendment_racing_a_trigger_has_one_outcome_and_the_client_is_told_it(bench):
    ids, (_, told) = race(bench, trigger, change)
    found = outcomes(bench, ids)
    for order_id in ids:
        # Amended to a price the trigger has not reached: it must not fire on the old one.
        assert found[order_id] == ["pending", {"done": "pending"}.get(told[order_id], told[order_id])]
        assert bench.row(order_id).limit_price == (170 if told[order_id] == "done" else 150)
    both_happen(found, ("triggered",), ("pending",))
    assert sorted(bucket("170")) == sorted(order_id for order_id in ids if told[order_id] == "done")
    assert bucket("150") == []


def test_an_expiry_racing_a_trigger_has_one_outcome(bench):
    ids, _ = race(bench, trigger, expire)
    found = outcomes(bench, ids)
    both_happen(found, ("triggered",), ("expired",))
    assert in_the_book() == []


def test_a_cancellation_racing_an_amendment_leaves_a_cancelled_order_either_way(bench):
    ids, (changed, cancelled) = race(bench, change, cancel)
    found = outcomes(bench, ids)
    assert set(cancelled.values()) == {"done"}
    both_happen(found, ("cancelled",), ("pending", "cancelled"))
    assert {order_id for order_id in ids if changed[order_id] == "done"} == {
        order_id for order_id, statuses in found.items() if len(statuses) == 3
    }
    assert in_the_book() == []
