"""The heartbeat: duties in turn, through any store's outage, until it is told to stop."""

import threading

import pytest
from structlog.testing import capture_logs

from orders import pulse
from orders.pulse import Duty, Pulse
from routing.chain import LOOKUP_LIMIT


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


def test_a_duty_is_done_at_its_pace():
    act = Act()
    duty = Duty("look", 1.0, act)
    for now in (100.0, 100.5, 100.9, 101.0, 101.5):
        duty.run(now)
    assert act.count == 2


def test_a_full_batch_is_followed_by_another_at_once():
    act = Act(LOOKUP_LIMIT, LOOKUP_LIMIT - 1)
    duty = Duty("look", 1.0, act)
    for now in (100.0, 100.01, 100.02):
        duty.run(now)
    assert act.count == 2


def test_a_duty_that_fails_is_tried_again_and_complains_now_and_then():
    act = Act(*[ConnectionError("refused")] * 12)
    duty = Duty("look", 1.0, act)
    with capture_logs() as logs:
        for second in range(12):
            duty.run(100.0 + second)
    assert act.count == 12
    assert len(logs) == 2
    assert logs[0]["duty"] == "look" and "refused" in logs[0]["reason"]


def test_the_heart_outlives_failing_duties_and_stops_when_told():
    beaten = threading.Event()
    failing = Act(*[ConnectionError("postgres is away")] * 1000)

    def other():
        if failing.count >= 3:
            beaten.set()
        return 0

    heart = Pulse([Duty("bad", 0, failing), Duty("good", 0, other)])
    heart.start()
    assert beaten.wait(10)
    heart.stop(10)
    assert not heart.is_alive()


def test_no_duty_begins_once_the_heart_was_told_to_stop():
    late = Act()

    def stop():
        heart.stopping.set()
        return 0

    heart = Pulse([Duty("first", 0, stop), Duty("second", 0, late)])
    heart.run()
    assert late.count == 0


@pytest.mark.parametrize("duty", ["look", "sweep", "audit", "notice loss", "tidy"])
def test_the_heart_has_every_duty(duty):
    assert duty in [one.name for one in pulse.order_duties()]


def test_waiting_orders_expire_by_the_limit_workers_heart():
    assert "expire" in [one.name for one in pulse.limit_duties()]


def test_a_launch_does_not_wait_for_beat():
    assert "match" in [one.name for one in pulse.sniper_duties()]
