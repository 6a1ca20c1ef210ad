"""More orders than can be executed: clients are told to come back, and what was accepted is finished."""

import json
import os
import signal
import threading
from contextlib import contextmanager

import pytest

from tests.load.overload import SETTINGS, ends, is_refusal, probed, run
from tests.system import NO_DELAYS, eventually, system

pytestmark = pytest.mark.system

BACKLOG = 100


@pytest.fixture(scope="module")
def engine():
    with system({**SETTINGS, **NO_DELAYS, "ORDER_BACKLOG_MAX": str(BACKLOG)}) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


@contextmanager
def frozen(pid, seconds):
    """Have a process do nothing for a while, so that the backlog fills on any machine."""
    os.kill(pid, signal.SIGSTOP)
    thaw = threading.Timer(seconds, os.kill, [pid, signal.SIGCONT])
    thaw.start()
    yield
    thaw.join()


def test_past_its_backlog_the_engine_refuses_in_words_and_finishes_what_it_accepted(engine):
    found = run(engine, 200, 5, warm_s=1, before_s=1, calm_s=0, beside=frozen(engine.pids()["order"], 3.0))
    assert found.refused.keys() == {"overloaded"} and found.refused["overloaded"] > 100
    assert not found.others
    outcomes = ends(engine, found.accepted)
    assert outcomes == {"confirmed": len(found.accepted)} and len(found.accepted) > BACKLOG
    assert found.normal_s is not None


def test_the_backlog_that_a_frozen_worker_leaves_is_bounded_and_recovers_by_itself(engine):
    worker = engine.pids()["order"]
    os.kill(worker, signal.SIGSTOP)
    answers = probed(engine, 3.0, 200).answers
    accepted = [answer for answer in answers if answer.status == 202]
    refused = [answer for answer in answers if is_refusal(answer)]
    assert len(accepted) == BACKLOG and len(refused) == len(answers) - BACKLOG
    # One that rests adds nothing to what is to be executed.
    resting = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1", "limitPrice": "9999"}
    assert [answer.status for answer in probed(engine, 1.0, 2, resting).answers] == [202, 202]
    os.kill(worker, signal.SIGCONT)
    eventually(lambda: probed(engine, 0.2, 5).answers[-1].status == 202, 30, "orders are accepted again")
    ids = [json.loads(answer.body)["orderId"] for answer in accepted]
    eventually(lambda: ends(engine, ids) == {"confirmed": BACKLOG}, 30, "the accepted ones are confirmed")
