"""Dead letters: kept once, judged by the attempts, replayed when that is safe."""

import threading

import pytest
from django.db import connection
from structlog.testing import capture_logs

from orders import models
from orders.flow import dead_letters
from orders.flow.dead_letters import LETTERS, NotSafe, Outlook
from orders.models import DeadLetter, OrderEvent, Verdict
from routing import outages
from routing.store import redis
from tests.factories import AttemptFactory, DeadLetterFactory, OrderFactory
from tests.forged import forged
from tests.orders.bench import STAGES


@pytest.fixture
def failed(bench, settings):
    """An order that failed though a replay may help: its only try was rejected by the chain."""
    settings.MOCK_REJECT_RATE = 1.0
    settings.MAX_ATTEMPTS = 1
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "failed"
    return order_id


def test_a_failed_order_becomes_a_letter_with_reason_history_and_verdict(bench, failed):
    assert dead_letters.keep([failed]) == 1
    one = DeadLetter.objects.get(order_id=failed)
    end = bench.events(failed)[-1]
    assert (one.code, one.reason) == (end["code"], end["message"]) == ("program_error", one.reason)
    assert one.reason and one.replay_may_help is True
    assert one.history == bench.events(failed)
    assert one.verdict == Verdict.SAFE


def test_a_letter_is_kept_once(bench, failed):
    assert [dead_letters.keep([failed]), dead_letters.keep([failed, failed])] == [1, 0]
    assert DeadLetter.objects.count() == 1


def test_letters_kept_by_two_workers_at_once_are_one(bench, failed, monkeypatch):
    meeting = threading.Barrier(2, timeout=10)

    def insert(letters, real=dead_letters.insert):
        meeting.wait()
        return real(letters)

    monkeypatch.setattr(dead_letters, "insert", insert)
    assert sorted(at_once(lambda: dead_letters.keep([failed]))) == [0, 1]
    assert DeadLetter.objects.count() == 1


def test_an_order_that_did_not_fail_gets_no_letter(bench):
    bench.quote_all()
    ids = bench.place(2)
    bench.run(ids[:1])
    assert dead_letters.keep(ids) == 0


def test_a_letter_whose_wake_up_was_lost_is_found(bench, failed):
    redis().delete("dlq")
    bench.archive()
    assert dead_letters.missing() == [failed]
    dead_letters.keep(dead_letters.missing())
    assert dead_letters.missing() == []


def test_a_letter_is_written_from_postgres_when_redis_has_forgotten_the_order(bench, failed):
    told = bench.events(failed)
    bench.archive()
    redis().flushall()
    dead_letters.keep([failed])
    assert DeadLetter.objects.get(order_id=failed).history == told


def test_a_letter_is_written_though_the_archive_has_a_gap(bench, failed):
    bench.archive()
    redis().flushall()
    models.Attempt.objects.all().delete()
    with forged():
        OrderEvent.objects.filter(order_id=failed, seq=2).delete()
    dead_letters.keep(dead_letters.missing())
    assert DeadLetter.objects.get(order_id=failed).code == "program_error"


def test_a_replay_places_the_order_anew_and_links_it(bench, failed, settings):
    dead_letters.keep([failed])
    settings.MOCK_REJECT_RATE = 0.0
    new_id = dead_letters.replay(failed, by="ada").order_id
    old, new = bench.row(failed), bench.row(new_id)
    assert str(new.replay_of_id) == failed and new_id != failed
    assert (new.pair, new.amount_in, new.slippage_bps) == (old.pair, old.amount_in, old.slippage_bps)
    one = DeadLetter.objects.get(order_id=failed)
    assert one.replayed_by == "ada" and one.replayed_at
    assert bench.statuses(new_id) == ["pending"]


def test_after_both_venues_were_down_and_came_back_a_replay_confirms(bench, settings):
    for venue in ("RAYDIUM", "METEORA"):
        outages.put(venue, "down")
    settings.ORDER_DEADLINE_S = 0
    (order_id,) = bench.place()
    bench.carry([order_id])
    assert bench.events(order_id)[-1]["code"] == "deadline_passed"
    dead_letters.keep([order_id])
    settings.ORDER_DEADLINE_S = 30
    bench.quote_all()
    new_id = dead_letters.replay(order_id, by="ada").order_id
    bench.run([new_id])
    assert bench.statuses(new_id) == STAGES


def test_a_second_replay_returns_the_same_order_as_a_repeat_and_logs_nothing(bench, failed):
    dead_letters.keep([failed])
    first = dead_letters.replay(failed, by="ada")
    with capture_logs() as lines:
        second = dead_letters.replay(failed, by="bob")
    assert (first.repeat, second.repeat) == (False, True)
    assert first.order_id == second.order_id
    assert not [line for line in lines if line["event"] == "dead letter replayed"]
    assert models.Order.objects.filter(replay_of=failed).count() == 1
    assert DeadLetter.objects.get(order_id=failed).replayed_by == "ada"


def test_replays_that_race_make_one_order(bench, failed, monkeypatch):
    dead_letters.keep([failed])
    meeting = threading.Barrier(2, timeout=10)

    def accept(asked, real=dead_letters.intake.accept):
        meeting.wait()
        return real(asked)

    monkeypatch.setattr(dead_letters.intake, "accept", accept)
    first, second = at_once(lambda: dead_letters.replay(failed, by="ada"))
    assert first.order_id == second.order_id
    assert sorted([first.repeat, second.repeat]) == [False, True]
    assert models.Order.objects.filter(replay_of=failed).count() == 1


def test_a_replay_that_failed_too_can_be_replayed_itself(bench, failed):
    dead_letters.keep([failed])
    again = dead_letters.replay(failed, by="ada").order_id
    bench.quote_all()
    bench.run([again])
    dead_letters.keep([again])
    third = dead_letters.replay(again, by="ada").order_id
    assert str(bench.row(third).replay_of_id) == again


@pytest.mark.parametrize(
    ("state", "verdict", "word"),
    [
        ("landed", Verdict.LANDED, "landed"),
        ("sent", Verdict.WAIT, "still open"),
        ("prepared", Verdict.WAIT, "still open"),
    ],
)
def test_the_verdict_is_judged_anew_and_a_replay_that_could_settle_twice_is_refused(bench, state, verdict, word):
    one = DeadLetterFactory(verdict=Verdict.SAFE)
    AttemptFactory(order=one.order, state=state)
    with pytest.raises(NotSafe, match=word):
        dead_letters.replay(str(one.order_id), by="ada")
    one.refresh_from_db()
    assert one.verdict == verdict and one.replayed_at is None
    assert models.Order.objects.count() == 1


def test_a_letter_that_had_to_wait_may_be_replayed_once_its_attempt_is_dead(bench):
    one = DeadLetterFactory(verdict=Verdict.WAIT)
    AttemptFactory(order=one.order, state="expired")
    assert dead_letters.replay(str(one.order_id), by="ada")


def test_a_letter_whose_order_may_still_get_an_attempt_must_wait(bench):
    one = DeadLetterFactory()
    models.Order.objects.filter(pk=one.order_id).update(closed_at=None)
    with pytest.raises(NotSafe, match="wait"):
        dead_letters.replay(str(one.order_id), by="ada")


def test_a_replay_that_cannot_help_is_refused_with_the_reason(bench):
    one = DeadLetterFactory(code="price_impact", reason="too large for its pools", replay_may_help=False)
    with pytest.raises(NotSafe, match=r"price_impact.*too large for its pools"):
        dead_letters.replay(str(one.order_id), by="ada")


@pytest.mark.parametrize(
    ("verdict", "may_help", "outlook"),
    [
        (Verdict.SAFE, True, Outlook.SAFE),
        (Verdict.SAFE, False, Outlook.CANNOT_HELP),
        (Verdict.LANDED, True, Outlook.LANDED),
        (Verdict.WAIT, False, Outlook.WAIT),
    ],
)
def test_the_outlook_calls_safe_only_what_replay_lets_pass_and_finds_its_letters(bench, verdict, may_help, outlook):
    one = DeadLetterFactory(verdict=verdict, replay_may_help=may_help)
    assert dead_letters.outlook(one) == outlook
    assert [found for found in Outlook if DeadLetter.objects.filter(LETTERS[found]).exists()] == [outlook]


def test_an_order_without_a_letter_cannot_be_replayed(bench):
    with pytest.raises(DeadLetter.DoesNotExist):
        dead_letters.replay(str(OrderFactory().id), by="ada")


def at_once(act):
    """Run it on two threads at once; return both answers."""
    answers = []

    def run():
        try:
            answers.append(act())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 2
    return answers
