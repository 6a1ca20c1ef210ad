"""The commands that ask the stores: `deadletters`, `replay` and `sandbox`."""

import re
from uuid import uuid4

import pytest

from deploy.servers import free_port
from orders.models import DeadLetter, Order, Verdict
from routing import outages
from tests.factories import AttemptFactory, DeadLetterFactory
from tests.orders.commands.standin import manage, refused, run

WHY = ["--reason", "the cause is gone"]


def test_replay_places_the_order_anew_and_puts_the_name_on_record(fresh_catalogue, capsys):
    letter = DeadLetterFactory()
    assert run("replay", str(letter.order_id), *WHY, "--operator", "night shift") == 0
    again = Order.objects.get(replay_of=letter.order)
    letter.refresh_from_db()
    assert letter.replayed_by == "night shift"
    assert f"{letter.order_id} replayed as {again.pk}" in capsys.readouterr().out


def test_a_second_replay_says_what_the_first_made_of_it(fresh_catalogue, capsys):
    letter = DeadLetterFactory()
    run("replay", str(letter.order_id), *WHY)
    again = Order.objects.get(replay_of=letter.order)
    capsys.readouterr()
    assert run("replay", str(letter.order_id), *WHY) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{letter.order_id} already replayed as {again.pk}", "0 replayed, 0 refused, 1 already replayed"]


def test_replay_refuses_what_landed_and_says_so(fresh_catalogue, capsys):
    letter = DeadLetterFactory()
    AttemptFactory(order=letter.order, state="landed")
    assert run("replay", str(letter.order_id), *WHY) == 1
    assert f"refused: {letter.order_id}: landed, do not replay" in capsys.readouterr().err
    assert not Order.objects.filter(replay_of=letter.order).exists()


def test_replay_of_an_order_without_a_letter_exits_2(fresh_catalogue):
    unknown = str(uuid4())
    code, message = refused("replay", unknown, *WHY)
    assert code == 2
    assert unknown in message


def test_replay_all_safe_takes_the_safe_ones_and_leaves_the_others(fresh_catalogue):
    safe = DeadLetterFactory.create_batch(2)
    others = [
        DeadLetterFactory(verdict=Verdict.LANDED),
        DeadLetterFactory(verdict=Verdict.WAIT),
        DeadLetterFactory(replay_may_help=False),
    ]
    assert run("replay", "--all-safe", *WHY) == 0
    assert set(Order.objects.exclude(replay_of=None).values_list("replay_of", flat=True)) == {o.order_id for o in safe}
    assert not DeadLetter.objects.filter(pk__in=[one.pk for one in others]).exclude(replayed_at=None).exists()


def test_replay_all_safe_goes_on_past_one_that_turns_out_unsafe(fresh_catalogue, capsys):
    landed, safe = DeadLetterFactory(), DeadLetterFactory()
    AttemptFactory(order=landed.order, state="landed")
    assert run("replay", "--all-safe", *WHY) == 1
    assert Order.objects.filter(replay_of=safe.order).exists()
    assert "1 replayed, 1 refused" in capsys.readouterr().out


def test_deadletters_lists_the_newest_first_with_verdict_and_replay(fresh_catalogue, capsys):
    first, second = DeadLetterFactory(), DeadLetterFactory(verdict=Verdict.LANDED, reason="the pool moved")
    run("replay", str(first.order_id), *WHY)
    again = Order.objects.get(replay_of=first.order)
    capsys.readouterr()
    assert run("deadletters") == 0
    assert str(first.order_id) not in capsys.readouterr().out, "what was replayed is out of the way"
    assert run("deadletters", "--all") == 0
    _, newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.split()[0] == str(second.order_id)
    assert "landed" in newest
    assert "the pool moved" in newest
    assert f"{again.pk} pending" in oldest


def test_deadletters_can_be_narrowed_to_one_outlook(fresh_catalogue, capsys):
    safe, landed = DeadLetterFactory(), DeadLetterFactory(verdict=Verdict.LANDED)
    useless = DeadLetterFactory(replay_may_help=False)
    run("deadletters", "--replay", "safe")
    listed = capsys.readouterr().out
    assert str(safe.order_id) in listed
    assert str(landed.order_id) not in listed
    assert str(useless.order_id) not in listed


def test_deadletters_says_of_each_what_a_replay_would_come_to(fresh_catalogue, capsys):
    DeadLetterFactory(reason="-")
    DeadLetterFactory(reason="-", replay_may_help=False)
    DeadLetterFactory(reason="-", verdict=Verdict.WAIT)
    DeadLetterFactory(reason="-", verdict=Verdict.LANDED)
    run("deadletters")
    _, *lines = capsys.readouterr().out.splitlines()
    words = [re.split(r" {2,}", line)[6] for line in lines]
    assert words == ["landed, do not", "wait", "cannot help", "may be replayed"]


@pytest.mark.parametrize("command", [["deadletters"], ["replay", "--all-safe", *WHY]])
def test_without_postgres_a_command_says_so_at_once_and_nothing_else(command):
    done = manage(*command, DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert done.returncode == 2
    first, reason, *_ = done.stderr.splitlines()
    assert first == "CommandError: Postgres cannot be reached; is `manage.py up` running?"
    assert "refused" in reason
    assert '"event"' not in done.stderr + done.stdout


def test_without_dead_letters_it_says_so(fresh_catalogue, capsys):
    assert run("deadletters") == 0
    assert capsys.readouterr().out == "There are no dead letters that were not replayed.\n"


@pytest.fixture
def venues_up():
    yield
    for venue in ("RAYDIUM", "METEORA"):
        outages.put(venue, "up")


def test_a_venue_is_taken_down_and_brought_back(db, venues_up, capsys):
    assert run("sandbox", "venue", "raydium", "down") == 0
    assert outages.Outages()("RAYDIUM")
    assert not outages.Outages()("METEORA")
    assert run("sandbox", "venue", "RAYDIUM", "up") == 0
    assert not outages.Outages()("RAYDIUM")
    assert capsys.readouterr().out.splitlines() == [
        "RAYDIUM is now down for every process.",
        "RAYDIUM is now up for every process.",
    ]


def test_an_unknown_venue_is_refused_with_those_there_are():
    code, message = refused("sandbox", "venue", "ORCA", "down")
    assert code == 2
    assert "RAYDIUM, METEORA" in message
