"""The command `order` for limit and sniper orders."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError

from orders.client import Client, sockets
from orders.client.events import event_of
from orders.management import engine as commands_engine
from orders.management.commands.watch import Follower
from tests.orders.commands.standin import (
    CONDITIONS,
    CONFIRMED,
    DROP,
    HOLD,
    ID,
    INTERRUPT,
    LIFE,
    LIMIT,
    MINT,
    PRICE,
    manage,
    refused,
    run,
    told,
)


def limit(engine, *more):
    return run("order", "limit", "SOL", "USDC", "2", "--price", "155.20", "--url", engine.url, *more)


def sniper(engine, *more):
    return run("order", "sniper", "SOL", MINT, "0.5", "--url", engine.url, *more)


def posted(engine):
    ((path, body),) = engine.posted
    assert path == "/api/orders/execute"
    return body if named(body) else {name: value for name, value in body.items() if name != "clientOrderId"}


def named(body):
    """Tell whether an order's name was typed: the client gives it one otherwise."""
    return body["clientOrderId"] == "mine-1"


def test_a_limit_order_is_posted_as_it_was_typed(engine):
    assert limit(engine, "--no-watch") == 0
    plain = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "2", "limitPrice": "155.20"}
    assert posted(engine) == plain


def test_a_limit_order_takes_what_every_order_takes_and_how_long_it_waits(engine):
    limit(engine, "--no-watch", "--tif", "ioc", "--slippage-bps", "10", "--client-order-id", "mine-1")
    body = posted(engine)
    assert (body["timeInForce"], body["slippageBps"], body["clientOrderId"]) == ("ioc", 10, "mine-1")
    assert "expiresAt" not in body


@pytest.mark.parametrize(
    ("typed", "lasts"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
    ],
)
def test_a_duration_is_sent_as_a_time_from_now(engine, typed, lasts):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    limit(engine, "--no-watch", "--expires", typed)
    sent = datetime.fromisoformat(posted(engine)["expiresAt"])
    assert before + lasts <= sent <= datetime.now(UTC) + lasts


def test_a_time_is_sent_as_it_was_typed(engine):
    limit(engine, "--no-watch", "--expires", "2026-11-22T18:00:00+02:00")
    assert posted(engine)["expiresAt"] == "2026-11-22T18:00:00+02:00"


@pytest.mark.parametrize("typed", ["soon", "10", "10 minutes", "-5m", "1w"])
def test_what_is_neither_a_duration_nor_a_time_is_refused_before_anything_is_sent(engine, typed):
    with pytest.raises(CommandError, match="expires"):
        limit(engine, f"--expires={typed}")
    assert engine.posted == []


@pytest.mark.parametrize(
    ("words", "trigger"),
    [
        (["--launch"], {"kind": "launch"}),
        (["--liquidity", "50000"], {"kind": "liquidity", "atLeast": "50000"}),
        (["--volume", "10000/60"], {"kind": "volume", "atLeast": "10000", "windowS": 60}),
        (["--liquidity", "50000", "--volume", "10000/60"], CONDITIONS),
        (["--launch", "--liquidity", "50000"], [{"kind": "launch"}, CONDITIONS[0]]),
    ],
)
def test_a_sniper_order_is_posted_with_what_it_waits_for(engine, words, trigger):
    assert sniper(engine, "--no-watch", *words) == 0
    plain = {"type": "sniper", "tokenIn": "SOL", "tokenOut": MINT, "amount": "0.5", "trigger": trigger}
    assert posted(engine) == plain


def test_a_sniper_order_takes_a_highest_price_an_expiry_and_unknown_facts(engine):
    time = "2026-11-22T18:00:00Z"
    sniper(engine, "--no-watch", "--launch", "--max-price", "0.01", "--expires", time, "--allow-unknown")
    body = posted(engine)
    assert (body["maxPrice"], body["expiresAt"], body["allowUnknown"]) == ("0.01", time, True)


def test_a_sniper_order_that_waits_for_nothing_is_refused_before_anything_is_sent(engine):
    code, message = refused("order", "sniper", "SOL", MINT, "0.5", "--url", engine.url)
    assert code == 2
    assert "--launch, --liquidity or --volume" in message
    assert engine.posted == []


@pytest.mark.parametrize("typed", ["10000", "10000/", "/60", "10000/1m"])
def test_a_volume_names_dollars_and_seconds(engine, typed):
    with pytest.raises(CommandError, match="volume"):
        sniper(engine, "--volume", typed)
    assert engine.posted == []


@pytest.mark.parametrize(
    "words", [["order"], ["order", "stop", "SOL", "USDC", "1"], ["order", "limit", "SOL", "USDC", "1"]]
)
def test_words_the_command_does_not_know_exit_2_with_its_usage(words):
    done = manage(*words)
    assert done.returncode == 2
    assert "usage: manage.py order" in done.stderr


def test_an_order_that_is_not_watched_is_placed_and_says_how_to_come_back_to_it(engine, capsys):
    assert limit(engine, "--no-watch") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"order {ID}",
        f"watch it:  python3 manage.py watch {ID} --url {engine.url}",
        f"cancel it: python3 manage.py cancel {ID} --url {engine.url}",
    ]
    assert engine.asked == []


def test_the_engine_of_this_machine_need_not_be_named_again():
    assert commands_engine.at(commands_engine.own_url()) == []


def test_a_market_order_that_is_not_watched_offers_no_cancelling(engine, capsys):
    assert run("order", "market", "SOL", "USDC", "1", "--no-watch", "--url", engine.url) == 0
    assert "cancel" not in capsys.readouterr().out


def test_json_without_watching_writes_the_engines_answer_and_nothing_else(engine, capsys):
    assert limit(engine, "--no-watch", "--json") == 0
    assert json.loads(capsys.readouterr().out) == engine.placed()


@pytest.mark.parametrize(("kind", "seconds"), [("market", 60.0), ("limit", None), ("sniper", None)])
def test_only_a_market_order_is_followed_for_a_minute_others_until_they_are_final(engine, monkeypatch, kind, seconds):
    limits = []

    async def follow(self, order, *, within_s, **_):
        limits.append(within_s)
        yield event_of(CONFIRMED)

    monkeypatch.setattr(Client, "follow", follow)
    more = {"limit": ["--price", "1"], "sniper": ["--launch"]}.get(kind, [])
    assert run("order", kind, "SOL", "USDC", "1", *more, "--url", engine.url) == 0
    (within_s,) = limits
    assert within_s is None if seconds is None else 0 < within_s <= seconds


def test_an_order_without_a_time_limit_is_followed_over_a_dropped_socket(engine, capsys):
    engine.sockets = [[LIMIT, DROP], [DROP], [told(2, "triggered", 0, trigger=PRICE), *LIFE[2:]]]
    assert limit(engine, "--json") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5]


def test_an_engine_that_stays_away_is_told_of_once_and_tried_again(engine, capsys):
    engine.sockets = [[LIMIT, DROP], *[[DROP]] * (sockets.MISSES_TOLD + 1), LIFE[1:]]
    assert limit(engine) == 0
    assert capsys.readouterr().err.count("the engine does not answer") == 1


def test_a_time_limit_may_be_given_for_an_order_that_waits(engine):
    engine.sockets = [[LIMIT, HOLD]]
    words = ["order", "limit", "SOL", "USDC", "2", "--price", "1", "--timeout", "0.5", "--url", engine.url]
    code, message = refused(*words)
    assert code == 2
    assert f"order {ID} is not final after 0.5 s" in message


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_the_order_resting_and_says_how_to_watch_and_cancel_it(engine, capsys):
    engine.sockets = [[LIMIT, INTERRUPT]]
    assert limit(engine, "--json") == 130
    said = capsys.readouterr().err
    assert f"Order {ID} keeps resting without you." in said
    assert f"python3 manage.py watch {ID}" in said
    assert f"python3 manage.py cancel {ID}" in said
    assert engine.heard == []


@pytest.fixture
def fired(monkeypatch):
    """Is set once the client has shown that the order fired."""
    shown, show = threading.Event(), Follower.show

    def showing(self, text):
        show(self, text)
        if "triggered" in text:
            shown.set()

    monkeypatch.setattr(Follower, "show", showing)
    return shown


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_on_an_order_that_has_fired_does_not_call_it_resting(engine, fired, capsys):
    engine.sockets = [[LIMIT, told(2, "triggered", 0, trigger=PRICE), fired, INTERRUPT]]
    assert limit(engine) == 130
    assert f"Order {ID} continues without you." in capsys.readouterr().err
