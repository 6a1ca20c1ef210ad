"""A worker's duties: each in its own time, through any store's outage, until it is told to stop."""

import threading
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from orders import models
from orders.flow import duties, execution, recovery, settlement
from orders.flow.duties import Duty, DutyThreads
from orders.stores import attempts, claims, live
from routing import tape
from routing.chain import LOOKUP_LIMIT
from routing.store import now_ms, redis
from tests.orders.swapping import claimed
from tests.system import eventually


class Act:
    """A duty's work: says how much it found, or fails."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.count = 0

    def __call__(self):
        self.count += 1
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_duty_waits_its_time_and_longer_when_it_finds_a_good_many():
    duty = Duty("look", 1.0, Act(0, 1, duties.FEW, duties.GOOD_MANY), busy_s=3.0)
    assert [duty.run() for _ in range(4)] == [1.0, 1.0, duties.GATHER_S, 3.0]
    assert Duty("sweep", 1.0, Act(duties.GOOD_MANY)).run() == 1.0


def test_a_full_batch_is_followed_by_another_at_once():
    assert Duty("look", 1.0, Act(LOOKUP_LIMIT)).run() == 0.0


def test_a_duty_that_fails_is_tried_again_and_complains_now_and_then(monkeypatch):
    act = Act(*[ConnectionError("refused")] * 12)
    duty = Duty("look", 1.0, act)
    times = iter(range(100, 200))
    monkeypatch.setattr(duties.time, "monotonic", lambda: float(next(times)) / 2)
    with capture_logs() as logs:
        assert {duty.run() for _ in range(12)} == {1.0}
    assert act.count == 12
    assert 1 < len(logs) < 6
    assert logs[0]["duty"] == "look" and "refused" in logs[0]["reason"]


def test_duties_outlive_their_failures_and_one_that_hangs_and_stop_when_told():
    beaten, let_go = threading.Event(), threading.Event()
    failing = Act(*[ConnectionError("postgres is away")] * 1000)

    def other():
        if failing.count >= 3:
            beaten.set()
        return 0

    def hanging():
        let_go.wait(30)
        return 0

    duties = DutyThreads([Duty("hangs", 0.01, hanging), Duty("bad", 0.01, failing), Duty("good", 0.01, other)])
    duties.start()
    assert beaten.wait(10)
    let_go.set()
    duties.stop(10)
    assert not any(thread.is_alive() for thread in duties.threads)


def test_a_duty_that_is_called_does_not_wait_its_time():
    act = Act()
    duty = Duty("look", 60.0, act)
    running = DutyThreads([duty])
    running.start()
    for _ in range(3):
        done = act.count
        duty.called.set()
        eventually(lambda done=done: act.count > done, 20, "it has acted")
    running.stop(10)
    assert not any(thread.is_alive() for thread in running.threads)


def test_a_busy_duty_waits_although_it_is_called():
    act = Act(duties.GOOD_MANY)
    duty = Duty("look", 0.01, act, busy_s=60.0)
    running = DutyThreads([duty])
    running.start()
    eventually(lambda: act.count == 1, 20, "it has acted")
    duty.called.set()
    running.stop(10)
    assert act.count == 1
    assert not any(thread.is_alive() for thread in running.threads)


@contextmanager
def at_work(duties, *names):
    """Have these duties, and no other, done in the background."""
    chosen = [duty for duty in duties if duty.name in names]
    assert len(chosen) == len(names)
    running = DutyThreads(chosen)
    running.start()
    try:
        yield
    finally:
        running.stop(10)


def test_an_order_workers_duties_settle_what_is_submitted(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    with at_work(duties.order_duties(), "look"):
        eventually(lambda: bench.statuses(order_id)[-1] == "confirmed", 20, "the order is confirmed")


def test_a_submitted_order_is_looked_up_without_waiting_for_the_next_round(bench, monkeypatch):
    monkeypatch.setattr(duties, "LOOK_EVERY_S", 60.0)
    bench.quote_all()
    with at_work(duties.order_duties(), "look"):
        (order_id,) = bench.place()
        bench.carry([order_id])
        eventually(lambda: bench.statuses(order_id)[-1] == "confirmed", 20, "the order is confirmed")


def test_they_send_again_what_nobody_answers_for(bench, settings, monkeypatch):
    settings.CONFIRM_RESEND_MS = 100
    bench.quote_all()
    (order_id,) = bench.place()
    monkeypatch.setattr(settlement, "broadcast", lambda sent: None)
    bench.carry([order_id])
    with at_work(duties.order_duties(), "audit", "look"):
        eventually(lambda: bench.statuses(order_id)[-1] == "confirmed", 20, "the order is confirmed")
    assert models.Attempt.objects.get(order_id=order_id).sends > 1


def test_they_decide_about_what_a_worker_left_unsent(bench, settings, monkeypatch):
    settings.CONFIRM_RESEND_MS, settings.ORDER_LEASE_MS = 100, 500
    bench.quote_all()
    (order_id,) = bench.place()

    class Died(BaseException):
        """The worker is gone: nothing that it would do next happens."""

    def dies(signatures):
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(attempts, "mark_sent", dies)
        bench.carry([order_id])
    with at_work(duties.order_duties(), "audit", "look"):
        eventually(lambda: bench.statuses(order_id)[-1] == "confirmed", 20, "the order is confirmed")


def test_they_wake_somebody_for_an_order_whose_worker_died(bench):
    (order_id,) = bench.place()
    claims.claim([order_id])
    redis().delete("order")
    with at_work(duties.order_duties(), "sweep"):
        bench.pass_time(order_id, 60_000)
        eventually(lambda: bench.messages("order") > 0, 20, "somebody is woken")


def test_they_keep_what_is_in_hand(bench, settings):
    settings.ORDER_LEASE_MS = 500
    (order_id,) = bench.place()
    claim = claimed(order_id)
    with claims.hands.holding([claim]), at_work(duties.order_duties(), "renew leases"):
        until = int(redis().hget(live.key(order_id), "lease")) + 1_000
        eventually(lambda: int(redis().hget(live.key(order_id), "lease")) > until, 20, "its lease is renewed")
        assert claims.claim([order_id]) == claims.Claimed()


def test_they_rebuild_an_emptied_redis(bench):
    (order_id,) = bench.place()
    redis().flushall()
    with at_work(duties.order_duties(), "notice loss"):
        eventually(lambda: order_id in live.statuses([order_id]), 20, "the order is back")
        eventually(lambda: not recovery.noticed() and not duties.rebuilding.locked(), 20, "all is back")


def test_waiting_orders_expire_by_the_limit_workers_duties(bench):
    (order_id,) = bench.accept(bench.limit("150", expires_at=now_ms() + 100))
    with at_work(duties.limit_duties(), "expire"):
        eventually(lambda: bench.statuses(order_id)[-1] == "expired", 20, "the order expires")


def test_what_operators_paused_is_told_again_after_a_loss(bench):
    redis().flushall()
    with at_work(duties.limit_duties(), "tell"):
        eventually(lambda: redis().exists("guards"), 20, "the risk limits are mirrored")


def test_a_launch_does_not_wait_for_beat(bench, monkeypatch):
    looked = threading.Event()
    monkeypatch.setattr(tape, "rounds", lambda reader: looked.set() or [])
    with at_work(duties.sniper_duties(), "match"):
        assert looked.wait(20)


@pytest.mark.parametrize("stage", ["route", "sign"])
def test_a_defect_in_one_order_leaves_its_neighbours_alone(bench, monkeypatch, stage):
    bench.quote_all()
    poisonous, *others = bench.place(4)
    module, name = {"route": ("orders.flow.routes", "chosen"), "sign": ("orders.flow.building", "sign")}[stage]
    real = getattr(__import__(module, fromlist=[name]), name)

    def fails(first, *rest):
        claim = getattr(first, "claim", first)
        if claim.order.id == poisonous:
            raise ZeroDivisionError("a defect")
        return real(first, *rest)

    monkeypatch.setattr(f"{module}.{name}", fails)
    for _ in range(4):
        execution.carry([poisonous, *others])
        bench.pass_time(poisonous, 60_000)
    settlement.look()
    assert {bench.statuses(order_id)[-1] for order_id in others} == {"confirmed"}
    last = bench.events(poisonous)[-1]
    assert (last["status"], last["code"], last["replayMayHelp"]) == ("failed", "defect", True)
