"""A try is something that was tried: what is away uses up none, and an order waits for it up to its deadline."""

import threading

import pytest
from django.db import InternalError, OperationalError

from orders import models
from orders.flow import building, eligibility, execution, limits, recovery, settlement
from orders.stores import attempts, claims, live
from routing.chain import ChainUnreachable
from routing.store import StoreError, redis
from tests.orders.bench import STAGES
from tests.orders.locks import in_thread
from tests.system import eventually

OUTAGES = 8
"""More of them than an order has tries."""


def settle():
    while settlement.look():
        pass


class Away:
    """A chain that answers nothing."""

    def __getattr__(self, name):
        def call(*_):
            raise ChainUnreachable("no answer from https://node.example/?api-key=hush")

        return call


def unquoted(bench, monkeypatch):
    """Both venues are silent, whoever asks them."""
    redis().delete("quotes:{SOL-USDC}:RAYDIUM", "quotes:{SOL-USDC}:METEORA", "quotes:{SOL-USDC}:BEST")
    basis = execution.router.Basis(execution.router.Source.ASKED, ())
    monkeypatch.setattr(execution.router, "from_cache", lambda pairs, *_: dict.fromkeys(pairs, basis))


def chainless(bench, monkeypatch):
    monkeypatch.setattr(building, "chain", Away)


def without_postgres(bench, monkeypatch):
    def away(*_):
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(attempts, "prepare", away)
    monkeypatch.setattr(attempts, "holding", away)


def read_only(bench, monkeypatch):
    def refuses(*_):
        raise InternalError("cannot execute INSERT in a read-only transaction")

    monkeypatch.setattr(attempts, "prepare", refuses)


def without_redis(bench, monkeypatch):
    """Redis takes the claim, and then nothing but the order's being handed back."""

    def away(*_):
        raise StoreError("connection refused")

    monkeypatch.setattr(execution.router, "from_cache", away)


@pytest.mark.parametrize("outage", [unquoted, chainless, without_postgres, read_only, without_redis])
def test_an_outage_uses_up_no_try_and_the_order_goes_on_when_it_is_over(bench, monkeypatch, outage):
    bench.quote_all()
    (order_id,) = bench.place()
    with monkeypatch.context() as away:
        outage(bench, away)
        for _ in range(OUTAGES):
            bench.carry([order_id])
            bench.pass_time(order_id, 10_000)
    assert bench.statuses(order_id)[-1] not in ("failed", "submitted")
    bench.quote_all()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert models.Attempt.objects.get(order_id=order_id).tries == 1
    # Each of its events names the try it belongs to, and there was one.
    assert {event["attempt"] for event in bench.events(order_id)[1:]} == {1}


@pytest.mark.parametrize(("outage", "code"), [(unquoted, "no_quote"), (chainless, "chain_unreachable")])
def test_a_market_order_waits_until_its_deadline_and_then_fails_with_what_it_waited_for(
    bench, monkeypatch, outage, code
):
    bench.quote_all()
    (order_id,) = bench.place()
    outage(bench, monkeypatch)
    bench.carry([order_id])
    first = bench.events(order_id)
    assert first[-1]["retry"]["code"] == code and first[0]["deadline"] == deadline(bench, order_id)
    bench.pass_time(order_id, 10_000)
    monkeypatch.setattr(eligibility, "is_late", lambda *_: True)
    bench.carry([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"], last["replayMayHelp"]) == ("failed", code, True)
    assert last["message"].startswith("until its deadline: ")
    assert "node.example" not in str(bench.events(order_id))


def test_an_outage_uses_up_no_try_when_redis_is_lost_meanwhile(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    with monkeypatch.context() as away:
        chainless(bench, away)
        bench.carry([order_id])
    bench.archive()
    redis().flushdb()
    recovery.recover()
    bench.quote_all()
    bench.pass_time(order_id, 10_000)
    monkeypatch.setattr(eligibility, "is_late", lambda *_: True)
    bench.carry([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"]) == ("failed", "chain_unreachable")
    assert last["message"].startswith("until its deadline: ")


def test_an_order_that_finds_its_deadline_passed_while_it_is_tried_fails_with_what_is_away(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    chainless(bench, monkeypatch)
    monkeypatch.setattr("orders.flow.endings.now_ms", lambda: live.standing([order_id])[order_id].order.deadline)
    bench.carry([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"], last["replayMayHelp"]) == ("failed", "chain_unreachable", True)


def deadline(bench, order_id):
    at = bench.row(order_id).deadline_at
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_the_wait_for_what_is_away_ends_with_the_deadline(bench, monkeypatch, settings):
    settings.ORDER_DEADLINE_S = 1
    bench.quote_all()
    (order_id,) = bench.place()
    unquoted(bench, monkeypatch)
    monkeypatch.setattr("engine.retry.BASE_MS", 60_000)
    bench.carry([order_id])
    assert bench.events(order_id)[-1]["retry"]["inMs"] <= 1_000


def test_an_order_nobody_could_begin_by_its_deadline_is_not_begun(bench, settings):
    settings.ORDER_DEADLINE_S = 0
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    assert bench.statuses(order_id) == ["pending", "failed"]
    assert bench.events(order_id)[-1]["code"] == "deadline_passed"
    assert models.Attempt.objects.count() == 0


def test_a_deadline_does_not_end_an_order_that_is_being_tried(bench, settings, monkeypatch):
    settings.MOCK_REJECT_RATE = 1.0
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    monkeypatch.setattr(eligibility, "is_late", lambda *_: True)
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert [event["attempt"] for event in bench.events(order_id) if event["status"] == "submitted"] == [1, 2]


@pytest.mark.parametrize("outage", [unquoted, chainless])
def test_an_order_that_waits_rests_again_until_what_is_away_is_back(bench, monkeypatch, outage):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("1"))
    with monkeypatch.context() as away:
        for _ in range(OUTAGES):
            limits.fire("SOL-USDC")
            outage(bench, away)
            bench.carry([order_id])
            assert bench.statuses(order_id)[-1] == "pending"
            away.undo()
            bench.quote_all()
            live.rest([order_id])
    limits.fire("SOL-USDC")
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"


def test_a_worker_slow_beyond_its_lease_keeps_its_orders_as_long_as_it_lives(bench, settings, monkeypatch):
    settings.ORDER_LEASE_MS = 400
    bench.quote_all()
    (order_id,) = bench.place()
    slow, go_on = threading.Event(), threading.Event()
    real = attempts.prepare

    def prepare(built):
        slow.set()
        assert go_on.wait(20)
        return real(built)

    monkeypatch.setattr(attempts, "prepare", prepare)
    worker, _ = in_thread(lambda: bench.carry([order_id]))
    assert slow.wait(20)
    until = int(redis().hget(live.key(order_id), "lease")) + 800

    def renewed():
        claims.hands.renew()
        return int(redis().hget(live.key(order_id), "lease")) > until

    eventually(renewed, 20, "its lease runs on")
    assert claims.claim([order_id]) == claims.Claimed()
    go_on.set()
    worker.join(20)
    settle()
    assert bench.statuses(order_id) == STAGES


def test_too_many_orders_that_wait_for_venues_are_handed_back(bench, monkeypatch):
    monkeypatch.setattr(execution, "asked", threading.BoundedSemaphore(1))
    execution.asked.acquire()
    (order_id,) = bench.place()
    bench.carry([order_id])
    assert redis().hget(live.key(order_id), "lease") == "0"
    execution.asked.release()
    bench.quote_all()
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert bench.statuses(order_id) == STAGES


def test_what_kills_its_worker_ends_after_three_tries_and_alone(bench, monkeypatch):
    bench.quote_all()
    poisonous, *others = ids = bench.place(5)
    real = execution.begin

    def begin(taken):
        if poisonous in [claim.order.id for claim in taken]:
            raise KeyboardInterrupt
        real(taken)

    monkeypatch.setattr(execution, "begin", begin)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            execution.carry(ids)
        for order_id in ids:
            bench.pass_time(order_id, 60_000)
    monkeypatch.undo()
    execution.carry(ids)
    settle()
    assert {bench.statuses(order_id)[-1] for order_id in others} == {"confirmed"}
    last = bench.events(poisonous)[-1]
    assert (last["status"], last["code"]) == ("failed", "attempts_exhausted")
