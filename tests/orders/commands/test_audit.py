"""Commands that act put who, from where, what, on what, why and with what outcome on record; `audit list` shows it."""

import socket

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

from orders.models import Act, ApiKey, Pause
from orders.operations import audit
from orders.stores import acts
from tests.factories import AttemptFactory, DeadLetterFactory
from tests.orders.commands.standin import refused, run

BY = ["--operator", "ada"]
WHY = ["--reason", "wrong prices"]


def on_record():
    """Return what the acts say, the oldest first, and check that each is sealed and from here."""
    rows = list(Act.objects.order_by("pk"))
    assert {(act.who, act.origin) for act in rows} <= {("ada", f"cli {socket.gethostname()}")}
    *_, result = audit.verify()
    assert (result.wrong, result.acts) == ([], len(rows))
    return [(act.what, act.subject, act.outcome, act.reason) for act in rows]


@pytest.mark.usefixtures("no_pauses")
def test_halting_and_resuming(bench):
    run("pause", "SOL-USDC", *WHY, *BY)
    run("halt", "everything", "--cancel-resting", *WHY, *BY)
    run("resume", "everything", *BY)
    assert on_record() == [
        ("pause", "SOL-USDC", "paused", "wrong prices"),
        ("halt", "everything", "halted; resting orders are cancelled", "wrong prices"),
        ("cancel resting orders", "everything", "0 cancelled", "wrong prices"),
        ("resume", "everything", "resumed; ada had halted it: wrong prices", ""),
    ]


def test_a_replay_and_one_that_was_refused(fresh_catalogue, capsys):
    good, landed = DeadLetterFactory(), DeadLetterFactory()
    AttemptFactory(order=landed.order, state="landed")
    run("replay", str(good.order_id), *WHY, *BY)
    again = capsys.readouterr().out.split()[3]
    run("replay", str(landed.order_id), *WHY, *BY)
    assert on_record() == [
        ("replay", str(good.order_id), f"replayed as {again}", "wrong prices"),
        ("replay", str(landed.order_id), f"refused: {landed.order_id}: landed, do not replay", "wrong prices"),
    ]


@pytest.mark.parametrize("words", [("replay", "--all-safe"), ("halt", "everything"), ("pause", "everything")])
def test_a_dangerous_act_needs_a_reason(db, words):
    with pytest.raises(Exception, match="--reason"):
        run(*words)
    assert not Act.objects.exists()


def test_api_keys_and_second_factors(db, capsys):
    User.objects.create(username="bot")
    run("apikeys", "create", "market maker", "--owner", "bot", *BY)
    key = ApiKey.objects.get()
    run("apikeys", "rotate", key.prefix, "--overlap", "60", *BY)
    run("apikeys", "revoke", key.prefix, *BY)
    run("secondfactor", "bot", "--remove", *BY)
    new = ApiKey.objects.exclude(pk=key.pk).get()
    assert on_record() == [
        ("make API key", str(key), "for bot: read trade cancel", ""),
        ("rotate API key", str(key), f"{new} takes its place; it ends in 60 s", ""),
        ("revoke API key", str(key), "revoked", ""),
        ("second factor", "bot", "removed", ""),
    ]


def test_what_is_done_to_the_sandbox(bench):
    run("sandbox", "venue", "raydium", "down", *BY)
    run("sandbox", "venue", "raydium", "up", *BY)
    assert [(what, subject) for what, subject, *_ in on_record()] == [("sandbox venue", "RAYDIUM")] * 2


@pytest.mark.usefixtures("no_pauses")
def test_an_act_stands_that_cannot_be_put_on_record_and_the_command_says_so(bench, capsys, monkeypatch):
    def away(*args, **more):
        raise DatabaseError("the lock is held")

    monkeypatch.setattr(acts, "record", away)
    assert run("halt", "everything", *WHY) == 0
    assert Pause.objects.get().state == "halted"
    assert "Done, but not in the audit log: the lock is held" in capsys.readouterr().err


def test_the_operator_is_whom_the_environment_names_unless_told(db, settings, capsys):
    User.objects.create(username="bot")
    settings.ENV = {**settings.ENV, "ENGINE_OPERATOR": "night shift"}
    run("secondfactor", "bot", "--remove")
    run("secondfactor", "bot", "--remove", *BY)
    assert list(Act.objects.order_by("pk").values_list("who", flat=True)) == ["night shift", "ada"]


def test_the_list_is_narrowed_by_who_what_and_since(db, capsys):
    for who, what, subject in (("ada", "halt", "everything"), ("bob", "replay", "x"), ("ada", "resume", "everything")):
        acts.record(who, "10.0.0.7", what, subject, "done", reason="because")

    def listed(*words):
        run("audit", "list", *words)
        return [line.split()[2:5] for line in capsys.readouterr().out.splitlines()[1:]]

    assert listed() == [
        ["ada", "10.0.0.7", "resume"],
        ["bob", "10.0.0.7", "replay"],
        ["ada", "10.0.0.7", "halt"],
    ]
    assert listed("--who", "ada", "--what", "every", "--since", "1h", "--limit", "1") == [["ada", "10.0.0.7", "resume"]]
    run("audit", "list", "--since", "2999-01-01")
    assert capsys.readouterr().out == "There are no such acts.\n"
    assert refused("audit", "list", "--since", "2026-99-01")[0] == 2
