"""The waiting order: cancelled, amended, expired; what wins when two of these, or a trigger, come at once."""

import random
import threading
from decimal import Decimal

import pytest
from django.db import DataError, OperationalError, connection
from redis.exceptions import ConnectionError as RedisAway

from engine.cursor import Cursor
from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from orders import models
from orders.flow import (
    building,
    decisions,
    dispatch,
    execution,
    limits,
    progress,
    recovery,
    restoring,
    routes,
    sweep,
    waiting,
)
from orders.models import Attempt
from orders.operations import reconciliation
from orders.stores import attempts, book, claims, event_codec, history, live, order_view
from routing import epochs
from routing.store import DISTRUST, StoreError, now_ms, redis
from tests.system import eventually

PAIR = "SOL-USDC"


def amend(order_id, seq=1, **changes):
    waiting.amend(order_id, seq, changes)


def bucket(price):
    return redis().zrange(f"limit_bucket:{{SOL-USDC}}:{price}", 0, -1)


def in_the_book():
    """Return what is left in the book, once the names of pairs are left aside that have nothing in it."""
    book.pairs()
    return redis().keys("limit*") + redis().keys("snipe*") + redis().keys("waiting:*")


def test_a_cancelled_order_leaves_the_book_and_never_fires(bench):
    (order_id,) = bench.accept(bench.limit("150", expires_at=now_ms() + 60_000))
    waiting.cancel(order_id)
    bench.price("200")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert bench.events(order_id)[-1]["reason"] == "cancelled by the client"
    assert in_the_book() == []
    bench.archive()
    row = bench.row(order_id)
    assert row.status == "cancelled" and row.closed_at is not None


def test_a_market_order_can_be_cancelled_before_a_worker_has_it(bench):
    (order_id,) = bench.place()
    waiting.cancel(order_id)
    bench.quote_all()
    bench.run([order_id])
    assert bench.statuses(order_id) == ["pending", "cancelled"]


@pytest.mark.parametrize("stage", ["triggered", "submitted", "confirmed"])
def test_an_order_that_has_fired_cannot_be_cancelled_and_goes_on(bench, stage):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    if stage != "triggered":
        bench.carry([order_id])
    if stage == "confirmed":
        bench.run([order_id])
        bench.archive()
    with pytest.raises(waiting.NotResting) as refused:
        waiting.cancel(order_id)
    assert refused.value.status == stage
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert bench.row(order_id).closed_at is None


def test_an_order_gone_from_redis_after_its_end_says_how_it_ended(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    bench.archive()
    redis().flushdb()
    with pytest.raises(waiting.NotResting) as refused:
        waiting.cancel(order_id)
    assert (refused.value.status, refused.value.seq) == (Status.CONFIRMED, 5)


def test_an_order_that_redis_lost_is_cancelled_all_the_same(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    redis().flushdb()
    waiting.cancel(order_id)
    assert bench.statuses(order_id) == ["pending", "cancelled"]


def test_an_order_with_an_attempt_that_may_land_is_not_cancelled(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    prepared = built(order_id)
    assert attempts.prepare([prepared]).stands and attempts.mark_sent([prepared.signature])
    # Redis, though, holds it as if it rested.
    redis().hset(live.key(order_id), mapping={"status": "pending", "seq": 4, "lease": 0})
    with pytest.raises(waiting.NotResting) as refused:
        waiting.cancel(order_id)
    assert refused.value.status == "submitted"
    assert bench.row(order_id).closed_at is None and bench.statuses(order_id)[-1] == "submitted"


def built(order_id):
    """Claim an order and sign its transaction, as a worker does that then hangs."""
    (claim,) = claims.claim([order_id]).claims
    routed, _ = routes.route([claim], execution.router.from_cache({PAIR}, now_ms(), 10**9, 10**9))
    ((_, prepared),) = building.build(routed)
    return prepared


@pytest.mark.parametrize("committed", [False, True], ids=["before its commit", "after its commit"])
def test_a_worker_frozen_while_its_order_is_amended_and_cancelled_sends_nothing_when_it_wakes(bench, committed):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    prepared = built(order_id)
    if committed:
        assert attempts.prepare([prepared]).stands
    # Its lease runs out, and another worker sends the order back to rest.
    bench.pass_time(order_id, 10_000)
    bench.price("90")
    bench.price("90", venue="RAYDIUM")
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "pending"
    amend(order_id, seq=bench.events(order_id)[-1]["seq"], amount_in=7 * 10**9, limit_price=Decimal("324"))
    assert attempts.prepare([prepared]).stands == set() and attempts.mark_sent([prepared.signature]) == set()
    waiting.cancel(order_id)
    assert bench.row(order_id).status == "cancelled"
    assert list(models.Attempt.objects.values_list("state", flat=True)) in ([], ["withdrawn"])


def test_all_of_a_pair_are_cancelled_with_a_count_and_no_others(bench):
    bench.price("100")
    ids = bench.accept(*(bench.limit("150") for _ in range(7)))
    (fired,) = bench.accept(bench.limit("90"))
    market = bench.place()
    limits.check()
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(7, 1, complete=True)
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"cancelled"}
    assert bench.statuses(fired) == ["pending", "triggered"]
    assert bench.statuses(market[0]) == ["pending"]
    assert waiting.cancel_all(PAIR, OrderType.SNIPER).cancelled == 0


def test_cancelling_all_stops_in_time_and_says_that_some_are_left(bench, monkeypatch):
    monkeypatch.setattr(waiting, "ALL_WITHIN_S", -1.0)
    bench.accept(bench.limit("150"))
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(0, 0, complete=False)


def test_an_amended_order_rests_at_its_new_price_and_the_old_one_fires_it_no_more(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("160"))
    bench.price("155")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "pending"]
    assert bench.events(order_id)[-1]["amended"] == {"limitPrice": {"from": "150", "to": "160"}}
    bench.price("160")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "pending", "triggered"]
    assert bench.events(order_id)[-1]["trigger"]["limitPrice"] == "160"


def test_an_order_amended_to_a_price_that_is_there_fires_at_once(bench):
    bench.price("155")
    (order_id,) = bench.accept(bench.limit("160"))
    amend(order_id, limit_price=Decimal("155"))
    assert bench.sent(dispatch.FIRE) == [{"pairs": [PAIR]}]


def test_every_term_can_be_amended_and_is_executed_as_amended(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("200"))
    expires = now_ms() + 60_000
    amend(order_id, amount_in=2_000_000_000, expires_at=expires, time_in_force=TimeInForce.GTD)
    amend(order_id, seq=2, limit_price=Decimal("100"))
    limits.check()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert bench.events(order_id)[-1]["amountIn"] == "2"
    row = bench.row(order_id)
    assert (row.amount_in, row.limit_price, row.terms_seq) == (2_000_000_000, 100, 3)
    assert int(row.expires_at.timestamp() * 1000) == expires


def test_an_amendment_is_in_postgres_with_its_event_before_it_is_answered(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("160"))
    told = bench.events(order_id)
    redis().flushdb()
    recovery.recover()
    assert bench.events(order_id) == told
    assert bucket("160") == [order_id] and bucket("150") == []


def test_an_amendment_that_postgres_does_not_commit_is_told_to_nobody_and_made_by_whoever_finds_it(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))

    def away(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(decisions, "write", away)
    with pytest.raises(OperationalError):
        amend(order_id, limit_price=Decimal("160"))
    assert bench.statuses(order_id) == ["pending"] and bench.row(order_id).limit_price == 150
    # Meanwhile it fires at neither price.
    assert bucket("150") == bucket("160") == []
    monkeypatch.undo()
    bench.pass_time(order_id, 10_000)
    sweep.sweep()
    assert bench.statuses(order_id) == ["pending", "pending"]
    assert bucket("160") == [order_id] and bench.row(order_id).limit_price == 160


def test_an_amendment_that_redis_refuses_changes_nothing_in_postgres(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))

    def away(_):
        raise RedisAway("gone")

    monkeypatch.setattr(progress, "advance", away)
    with pytest.raises(RedisAway):
        amend(order_id, limit_price=Decimal("160"))
    assert bench.row(order_id).limit_price == 150


def test_an_amendment_that_changes_nothing_is_no_event(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("150.00"))
    assert bench.statuses(order_id) == ["pending"]


def test_an_amendment_of_an_order_that_has_moved_on_is_refused_with_its_last_seq(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("160"))
    with pytest.raises(waiting.Changed) as refused:
        amend(order_id, limit_price=Decimal("170"))
    assert refused.value.seq == 2
    assert bench.row(order_id).limit_price == 160


def test_neither_a_market_order_nor_one_that_has_fired_can_be_amended(bench):
    bench.price("150")
    (market,) = bench.place()
    (fired,) = bench.accept(bench.limit("100"))
    limits.check()
    for order_id, seq in ((market, 1), (fired, 2)):
        with pytest.raises(waiting.NotResting):
            amend(order_id, seq, amount_in=10**9)


def test_another_price_or_more_of_it_sends_an_order_to_the_back_of_its_queue_and_less_does_not(bench):
    first, second, third = bench.accept(*(bench.limit("150") for _ in range(3)))
    assert bucket("150") == [first, second, third]
    amend(first, amount_in=10**9)
    assert bucket("150") == [first, second, third]
    amend(first, 2, amount_in=2 * 10**9)
    assert bucket("150") == [second, third, first]
    amend(second, limit_price=Decimal("149"))
    amend(second, 2, limit_price=Decimal("150"))
    assert bucket("150") == [third, first, second]
    redis().flushdb()
    recovery.recover()
    assert bucket("150") == [third, first, second]


def test_an_order_expires_by_the_stores_clock_and_not_before(bench):
    soon, later = bench.accept(
        bench.limit("150", expires_at=now_ms() + 300), bench.limit("150", expires_at=now_ms() + 60_000)
    )
    waiting.expire()
    assert bench.statuses(soon) == ["pending"]
    while now_ms() <= bench_expiry(soon):
        pass
    waiting.expire()
    assert (bench.statuses(soon), bench.statuses(later)) == (["pending", "expired"], ["pending"])
    assert bucket("150") == [later]
    bench.archive()
    assert bench.row(soon).status == "expired" and bench.row(soon).closed_at


def bench_expiry(order_id):
    return live.standing([order_id])[order_id].order.expires_at


def test_an_order_that_pauses_after_firing_in_vain_expires_on_time_too(bench):
    expires = now_ms() + 200
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires))
    bench.price("150.10")
    limits.check()
    bench.price("149")
    bench.carry([order_id])
    while now_ms() <= expires:
        pass
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "triggered", "pending", "expired"]


def test_an_order_that_has_fired_does_not_expire(bench):
    expires = now_ms() + 100
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires))
    bench.price("151")
    limits.check()
    while now_ms() <= expires:
        pass
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_order_that_comes_back_while_it_is_looked_at_keeps_its_expiry(bench, monkeypatch):
    expires = now_ms() + 50
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires, time_in_force=TimeInForce.GTD))
    bench.price("151")
    limits.check()
    while now_ms() < expires:
        pass
    # As if its expiry had come just before it fired.
    redis().zadd("waiting:expiring", {order_id: expires})
    bench.price("140")
    forget = book.forget_expiry

    def back_in_between(*args):
        bench.carry([order_id])
        forget(*args)

    monkeypatch.setattr(book, "forget_expiry", back_in_between)
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    waiting.expire()
    assert bench.statuses(order_id)[-1] == "expired"


def test_an_order_whose_expiry_was_amended_lives_by_the_new_one(bench):
    first = now_ms() + 100
    (order_id,) = bench.accept(bench.limit("150", expires_at=first, time_in_force=TimeInForce.GTD))
    amend(order_id, expires_at=first + 60_000)
    while now_ms() <= first:
        pass
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "pending"]
    amend(order_id, 2, expires_at=None, time_in_force=TimeInForce.GTC)
    assert not redis().exists("waiting:expiring")


def test_the_book_is_rebuilt_from_postgres_when_redis_is_empty_and_fires_when_the_price_comes(bench):
    ids = bench.accept(*(bench.limit("150", expires_at=now_ms() + 60_000) for _ in range(50)))
    bench.archive()
    redis().flushdb()
    recovery.recover()
    assert bucket("150") == ids
    assert redis().zcard("waiting:expiring") == 50
    bench.price("151")
    limits.check()
    assert {tuple(bench.statuses(order_id)) for order_id in ids} == {("pending", "triggered")}
    assert bench.messages("order") == 1


def nothing_but(**found):
    return {**dict.fromkeys(reconciliation.KINDS, 0), **found}


def test_reconciliation_repairs_what_has_gone_out_of_step_and_counts_it(bench):
    bench.quote_all()
    ids = bench.accept(*(bench.limit("1000") for _ in range(7)))
    lost, misplaced, ended, older, sent, sound, stray = ids
    amend(older, limit_price=Decimal("1600"))
    waiting.cancel(ended)
    bench.archive()
    redis().delete(live.key(lost))
    redis().zrem("limit_bucket:{SOL-USDC}:1000", misplaced, lost)
    # As Redis had them before the one was amended and the other ended.
    redis().hset(live.key(older), "seq", 1)
    redis().hset(live.key(older), "order", redis().hget(live.key(sound), "order").replace(sound, older))
    redis().xdel(f"{live.key(older)}:events", "2-0")
    redis().hset(live.key(ended), mapping={"status": "pending", "seq": 1})
    redis().xdel(f"{live.key(ended)}:events", "2-0")
    # One whose transaction is on its way, though it rests; and a place that is nobody's.
    claimed = Attempt(order_id=sent, number=1, venue="METEORA", signature="s" * 88, last_valid_height=10**9, seq=2)
    claimed.state, claimed.raw, claimed.fee_bps, claimed.trail = "sent", b"", 20, []
    claimed.expected_out = claimed.minimum_out = claimed.amount_in = 1
    claimed.save()
    redis().hset(live.key(stray), "place", "limit SOL-USDC 1001")
    redis().zadd("limit_bucket:{SOL-USDC}:1001", {stray: 1})
    assert reconciliation.take() == nothing_but(missing=1, misplaced=1, contradicted=1, sent=1, ended=1, stray=1)
    assert sorted(bucket("1000")) == sorted([lost, misplaced, sound]) and bucket("1600") == [older]
    assert bench.statuses(ended) == ["pending", "cancelled"] and bench.statuses(sent)[-1] == "submitted"
    assert reconciliation.take() == nothing_but()
    counted = {kind: int(count) for kind, count in redis().hgetall("book:repaired").items() if count != "0"}
    assert counted == {"missing": 1, "misplaced": 1, "contradicted": 1, "sent": 1, "ended": 1, "stray": 1}


def test_reconciliation_feeds_an_end_again_that_dbsync_never_got(bench):
    bench.price("151")
    (order_id,) = bench.accept(bench.limit("150"))
    bench.archive()
    limits.check()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    redis().delete(live.FEED)
    assert reconciliation.take()["behind"] == 1
    bench.archive()
    assert bench.row(order_id).status == "confirmed"


def test_reconciliation_goes_on_where_it_ended(bench, monkeypatch):
    monkeypatch.setattr(reconciliation, "PAGE", 2)
    monkeypatch.setattr(reconciliation, "STRETCH", 2)
    ids = bench.accept(*(bench.limit("150") for _ in range(5)))
    bench.archive()
    redis().delete(*map(live.key, ids))
    assert [reconciliation.take()["missing"] for _ in range(4)] == [2, 2, 1, 0]


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


def test_an_order_that_is_just_being_fired_is_not_out_of_place(bench):
    ids = bench.accept(*(bench.limit("150") for _ in range(3)))
    bench.price("151")
    claim = book.claim(PAIR, limits.sight([PAIR])[PAIR], now_ms())
    assert reconciliation.take()["misplaced"] == 0 and bucket("150") == []
    # The price has gone again before its holder goes on: what it saw counts.
    bench.price("100")
    limits.trigger(claim)
    assert {tuple(bench.statuses(order_id)) for order_id in ids} == {("pending", "triggered")}


def test_all_of_a_pair_are_cancelled_that_redis_has_lost(bench):
    ids = bench.accept(*(bench.limit("150") for _ in range(3)))
    redis().flushdb()
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(3, 0, complete=True)
    recovery.recover()
    assert bucket("150") == []
    assert {bench.row(order_id).status for order_id in ids} == {"cancelled"}


def test_an_order_back_from_firing_is_cancelled_with_all_of_its_pair_before_the_archive_has_heard(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("151")
    limits.check()
    bench.archive()
    assert bench.row(order_id).status == "triggered"
    # The price has gone when it comes to execute, so it goes back to rest.
    bench.price("100")
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "pending"
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(1, 0, complete=True)
    assert bench.statuses(order_id)[-1] == "cancelled"


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_an_order_that_has_ended_stays_so_when_redis_is_lost_at_once(bench, end):
    at = now_ms() + 60
    (order_id,) = bench.accept(bench.limit("150", expires_at=at) if end == "expired" else bench.limit("150"))
    if end == "expired":
        eventually(lambda: now_ms() > at, 10, "its time has passed")
        waiting.expire()
    else:
        waiting.cancel(order_id)
    told = bench.events(order_id)
    redis().flushdb()
    recovery.recover()
    assert live.statuses([order_id]) == {} and bucket("150") == []
    assert (bench.row(order_id).status, bench.row(order_id).seq) == (end, 2)
    assert history.of(bench.row(order_id)) == told


def test_an_end_that_postgres_cannot_write_is_given_up_and_takes_no_neighbour_with_it(bench, monkeypatch):
    faulty, sound = bench.accept(bench.limit("150"), bench.limit("150"))
    real = decisions.write

    def write(reserved, intents):
        if any(one.order_id == faulty for one in reserved):
            raise DataError("cannot be written")
        real(reserved, intents)

    monkeypatch.setattr(decisions, "write", write)
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(1, 1, complete=True)
    assert (bench.statuses(faulty), bench.statuses(sound)) == (["pending"], ["pending", "cancelled"])
    assert bucket("150") == [faulty] and bench.row(faulty).closed_at is None


def test_a_reason_with_a_character_that_postgres_cannot_keep_is_told_without_it(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    waiting.cancel(order_id, reason="no\0good")
    assert bench.events(order_id)[-1]["reason"] == "no\ufffdgood" == bench.row(order_id).result["reason"]


def older_redis():
    """Remember what Redis holds; calling the result makes it so again, as a restart from an older file does."""
    epochs.current()
    before = {name: redis().dump(name) for name in redis().keys("*")}

    def restore():
        redis().flushdb()
        for name, value in before.items():
            redis().restore(name, 0, value)
        # What the first connection to a server with another run id does.
        redis().eval(DISTRUST, 0, "another server")

    return restore


def test_nothing_moves_in_a_redis_that_was_started_again_until_it_is_compared(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    other, market = bench.accept(bench.limit("140"), bench.order())
    older_redis()()
    bench.price("151")
    for move in (limits.check, lambda: bench.carry([market]), lambda: waiting.cancel(order_id)):
        with pytest.raises(epochs.Unverified):
            move()
    assert {tuple(bench.statuses(one)) for one in (order_id, other, market)} == {("pending",)}
    recovery.recover()
    waiting.cancel(other)
    bench.carry([market])
    assert bench.statuses(other)[-1] == "cancelled" and bench.statuses(market)[-1] == "submitted"


def test_a_redis_that_is_started_again_while_it_is_compared_is_compared_again(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))
    restore = older_redis()
    waiting.cancel(order_id)
    told = bench.events(order_id)
    restore()
    real = recovery.compare_lately

    def and_again():
        real()
        restore()

    monkeypatch.setattr(recovery, "compare_lately", and_again)
    with pytest.raises(epochs.Unverified):
        recovery.recover()
    monkeypatch.undo()
    with pytest.raises(epochs.Unverified):
        epochs.current()
    recovery.recover()
    assert bench.events(order_id) == told


@pytest.mark.parametrize("end", ["cancelled", "amended", "tried"])
def test_what_postgres_learned_lately_is_restored_before_anything_moves(bench, end):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("1"))
    restore = older_redis()
    if end == "cancelled":
        waiting.cancel(order_id)
    elif end == "amended":
        amend(order_id, limit_price=Decimal("2"))
    else:
        limits.check()
        bench.run([order_id])
    told = bench.events(order_id)
    if end == "tried":
        bench.archive()
    restore()
    recovery.recover()
    assert bench.events(order_id) == told


def test_an_order_that_has_ended_stays_so_though_redis_went_on_with_it(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    restore = older_redis()
    waiting.cancel(order_id)
    told = bench.events(order_id)
    restore()
    epochs.begin("nobody compared")
    bench.price("151")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]
    fired = bench.events(order_id)[-1]
    bench.carry([order_id])
    # What it told since is withdrawn: the same end, made anew, has a later epoch than that.
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert bench.events(order_id)[-1] == {**told[-1], "epoch": epochs.current()}
    assert epochs.current() > fired["epoch"]
    bench.archive()
    assert bench.row(order_id).status == "cancelled" and history.of(bench.row(order_id)) == bench.events(order_id)
    assert models.Attempt.objects.count() == 0


@pytest.fixture
def behind_its_end(bench):
    """An order that was cancelled, and that a Redis which has forgotten that has fired."""
    (order_id,) = bench.accept(bench.limit("150"))
    restore = older_redis()
    waiting.cancel(order_id)
    restore()
    epochs.begin("nobody compared")
    bench.price("151")
    limits.check()
    return order_id


def test_of_two_workers_that_tell_an_end_anew_one_does_and_postgres_and_redis_agree(bench, behind_its_end, monkeypatch):
    real = restoring.tell_anew

    def overtaken(*asked):
        monkeypatch.undo()
        restoring.restore([behind_its_end], "another worker")
        return real(*asked)

    monkeypatch.setattr(restoring, "tell_anew", overtaken)
    restoring.restore([behind_its_end], "a worker that was frozen")
    assert bench.statuses(behind_its_end) == ["pending", "cancelled"]
    assert history.of(bench.row(behind_its_end)) == bench.events(behind_its_end)


def test_who_was_told_something_after_an_end_gets_the_end_though_nobody_has_told_it_anew(bench, behind_its_end):
    fired = order_view.history(behind_its_end).events[-1][0]
    redis().flushdb()
    found = order_view.history(behind_its_end, fired)
    assert found.rewound.seq == 1 and found.finished
    assert [event_codec.load(text)["status"] for _, text in found.events] == ["cancelled"]


def test_who_is_rewound_is_not_sent_back_to_an_earlier_epoch(bench):
    epochs.begin("a test")
    (order_id,) = bench.accept(bench.limit("150"))
    redis().flushdb()
    epochs.begin("emptied")
    recovery.recover()
    bench.price("151")
    limits.check()
    fired = order_view.history(order_id).events[-1][0]
    redis().flushdb()
    restoring.restore([order_id], "a test")
    assert order_view.history(order_id, fired).rewound == Cursor(1, fired.epoch)


def test_an_end_is_not_told_anew_in_an_epoch_that_is_over(bench, behind_its_end, monkeypatch):
    real = restoring.tell_anew

    def lost_meanwhile(*asked):
        redis().flushdb()
        epochs.forget()
        epochs.current()
        return real(*asked)

    monkeypatch.setattr(restoring, "tell_anew", lost_meanwhile)
    before = history.of(bench.row(behind_its_end))
    with pytest.raises(StoreError):
        restoring.restore([behind_its_end], "a worker that was frozen")
    assert history.of(bench.row(behind_its_end)) == before


def test_an_amendment_stands_though_redis_has_forgotten_it(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    restore = older_redis()
    amend(order_id, limit_price=Decimal("160"), amount_in=3 * 10**9)
    restore()
    epochs.begin("nobody compared")
    with pytest.raises(waiting.Changed) as refused:
        amend(order_id, limit_price=Decimal("170"))
    assert refused.value.seq == 2
    assert bucket("160") == [order_id] and bucket("150") == []
    row = bench.row(order_id)
    assert (row.limit_price, row.amount_in) == (160, 3 * 10**9)
