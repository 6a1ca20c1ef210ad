"""Orders that wait when Redis or Postgres loses or refuses something."""

from decimal import Decimal

import pytest
from django.db import DataError

from engine.cursor import Cursor
from orders import models
from orders.flow import decisions, limits, recovery, restoring, waiting
from orders.models import Attempt
from orders.operations import reconciliation
from orders.stores import book, event_codec, history, live, order_view
from routing import epochs
from routing.store import StoreError, now_ms, redis
from tests.orders.book import PAIR, amend, bucket, nothing_but, older_redis
from tests.system import eventually


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
