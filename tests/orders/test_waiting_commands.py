"""The commands for orders that wait, against a small stand-in for the API."""

import json
import re
import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from orders.client import Backoff, Client, sockets
from orders.client.events import event_of
from orders.management import engine as commands_engine
from orders.management.commands import orders as listing
from orders.management.commands.watch import Follower
from orders.operations import story
from tests.orders.test_commands import (
    CONFIRMED,
    DROP,
    HOLD,
    ID,
    INTERRUPT,
    LIFE,
    Engine,
    manage,
    refused,
    run,
    told,
)

OTHER = "0193ab00-0000-7000-8000-000000000002"
MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

LIMIT = told(
    1, "pending", 0, type="limit", pair="SOL-USDC", amountIn="2", slippageBps=50, limitPrice="155.2", timeInForce="gtc"
)
CONDITIONS = [
    {"kind": "liquidity", "atLeast": "50000"},
    {"kind": "volume", "atLeast": "10000", "windowS": 60},
]
SNIPER = told(
    1,
    "pending",
    0,
    type="sniper",
    pair="SOL-WIF",
    amountIn="0.5",
    slippageBps=50,
    maxPrice="0.01",
    timeInForce="gtd",
    expiresAt="2026-11-22T12:10:00.000Z",
    trigger=CONDITIONS,
)
PRICE = {
    "kind": "price",
    "venue": "METEORA",
    "price": "155.31",
    "limitPrice": "155.2",
    "observedAt": "2026-11-22T12:00:00.000Z",
    "ageMs": 310,
    "polls": 2,
}
GATES = [
    {"gate": "mintAuthority", "value": "none", "source": "token", "verdict": "pass", "reason": "it has been given up"},
    {"gate": "topHolder", "value": None, "source": "token", "verdict": "refuse", "reason": "unknown"},
]


def error(code, message="it is not so", fields=()):
    return {"error": {"code": code, "message": message, "fields": list(fields)}}


def always(status, answer):
    return {method: [(status, answer)] for method in ("GET", "PATCH", "DELETE")}


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Back off in hundredths of a second."""
    monkeypatch.setattr(commands_engine, "BACKOFF", Backoff(0.01, 0.1))


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


# order limit, order sniper


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
    assert f"Order {ID} rests on without you." in said
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
    assert f"Order {ID} goes on without you." in capsys.readouterr().err


# The events in words


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (LIMIT, "sell 2 SOL-USDC at 155.2 or better, slippage at most 50 bps, until cancelled"),
        ({**LIMIT, "timeInForce": "ioc"}, "sell 2 SOL-USDC at 155.2 or better, slippage at most 50 bps, now or never"),
        (
            SNIPER,
            "sell 0.5 SOL-WIF on liquidity of 50000 USD and volume of 10000 USD in 60 s, paying at most 0.01 each, "
            "slippage at most 50 bps, until 2026-11-22T12:10:00.000Z",
        ),
        (
            {**SNIPER, "trigger": {"kind": "launch"}, "maxPrice": None, "expiresAt": None},
            "sell 0.5 SOL-WIF on launch, slippage at most 50 bps, until cancelled",
        ),
        (
            told(2, "pending", 0, amended={"limitPrice": {"from": "155", "to": "156"}}),
            "amended: limit from 155 to 156",
        ),
        (
            told(
                2,
                "pending",
                0,
                amended={
                    "amountIn": {"from": "2", "to": "3"},
                    "expiresAt": {"from": "2026-11-22T12:10:00.000Z", "to": None},
                    "maxPrice": {"from": None, "to": "0.02"},
                },
            ),
            "amended: amount from 2 to 3, expiry from 2026-11-22T12:10:00.000Z to none, "
            "highest price from none to 0.02",
        ),
        (
            told(5, "pending", 1, returned={"code": "limit_price", "message": "its price was gone", "inMs": 500}),
            "rests again: its price was gone (limit_price); may fire in 500 ms",
        ),
        (
            told(2, "triggered", 0, trigger=PRICE),
            "METEORA pays 155.31, limit 155.2 (310 ms old, held for 2 polls)",
        ),
        (told(3, "cancelled", 0, reason="cancelled by the client"), "cancelled by the client"),
        (told(3, "cancelled", 0), ""),
        (
            told(3, "expired", 0, reason="expiresAt has passed", expiresAt="2026-11-22T12:10:00.000Z"),
            "expiresAt has passed: 2026-11-22T12:10:00.000Z",
        ),
        (
            told(3, "failed", 0, code="gate_refused", message="topHolder: unknown", replayMayHelp=False),
            "topHolder: unknown (gate_refused); a replay would not help",
        ),
        (told(2, "paused", 0), ""),
    ],
)
def test_each_event_is_told_in_a_few_words(event, words):
    assert story.told(event) == words


def test_one_poll_is_not_called_polls():
    assert "held for 1 poll)" in story.told(told(2, "triggered", 0, trigger={**PRICE, "polls": 1}))


def test_a_sniper_order_that_fires_shows_what_was_seen_and_each_gate_on_a_line_of_its_own():
    happened = {"id": "e1", "kind": "trade", "venue": "RAYDIUM", "usd": "4100", "at": LIMIT["at"], "ageMs": 12}
    met = [{**CONDITIONS[0], "value": "61250"}, {**CONDITIONS[1], "value": "10050"}]
    trigger = {"kind": "volume", "event": happened, "conditions": met}
    head, *gates = story.line(told(2, "triggered", 0, trigger=trigger, gates=GATES), 1.5).splitlines()
    assert head == (
        "    1.500 s  triggered  trade at RAYDIUM of 4100 USD, 12 ms old; "
        "met: liquidity of 50000 USD (there: 61250) and volume of 10000 USD in 60 s (there: 10050)"
    )
    assert [gate.strip() for gate in gates] == [
        "pass   mintAuthority: none, it has been given up (token)",
        "refuse topHolder: unknown (token)",
    ]
    assert {len(gate) - len(gate.lstrip()) for gate in gates} == {head.index("trade")}


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (None, ""),
        ({}, ""),
        ({"kind": "launch", "event": {}}, "launch"),
        ({"kind": "launch", "event": None, "conditions": []}, "launch"),
        ({"event": None, "conditions": [{"kind": "launch", "value": "1 pools"}]}, "met: launch (there: 1 pools)"),
    ],
)
def test_a_trigger_that_says_little_is_told_as_far_as_it_goes(trigger, words):
    assert story.told(told(2, "triggered", 0, trigger=trigger)) == words


# watch


def watch(engine, *more):
    return run("watch", ID, "--url", engine.url, *more)


def test_watch_shows_an_order_from_its_first_event_with_the_time_of_each(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=1))]
    assert watch(engine) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"order {ID}: pending, last event 1"
    assert [line.split()[:2] for line in lines] == [[event["at"], event["status"]] for event in LIFE]
    assert engine.heard == [("GET", f"/api/orders/{ID}", None, None)]
    assert engine.asked == [f"/ws/{ID}"]


def test_watch_goes_on_after_the_event_it_is_told(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=3))]
    engine.sockets = [LIFE[3:]]
    assert watch(engine, "--after", "3", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == LIFE[3:]
    assert engine.asked == [f"/ws/{ID}?after=3"]


@pytest.mark.parametrize(("status", "code"), [("confirmed", 0), ("cancelled", 1)])
def test_watch_asks_for_no_events_when_none_can_come(engine, capsys, status, code):
    engine.answers["GET"] = [(200, engine.order(status=status, seq=5))]
    assert watch(engine, "--after", "5") == code
    assert capsys.readouterr().out == f"order {ID}: {status}, last event 5\n"
    assert engine.asked == []


def test_watch_of_an_order_that_ends_otherwise_exits_1(engine):
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[LIMIT, told(2, "expired", 0, reason="expiresAt has passed")]]
    assert watch(engine) == 1


def test_watch_of_an_unknown_order_exits_2(engine):
    engine.answers["GET"] = [(404, error("not_found", f"there is no order {ID}"))]
    assert refused("watch", ID, "--url", engine.url) == (2, f"not_found: there is no order {ID}")


def test_watch_is_told_when_the_engine_has_nothing_past_the_event(engine):
    engine.answers["GET"] = [(200, engine.order(seq=3))]
    engine.sockets = [[1000]]
    code, message = refused("watch", ID, "--after", "9", "--url", engine.url)
    assert code == 2
    assert "no event past 9" in message


def test_watch_gives_up_when_its_time_is_over(engine):
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[LIMIT, HOLD]]
    code, message = refused("watch", ID, "--timeout", "0.5", "--url", engine.url)
    assert code == 2
    assert "is not final after 0.5 s" in message


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_watching_exits_130_and_says_how_to_come_back(engine, capsys):
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[LIMIT, INTERRUPT]]
    assert watch(engine) == 130
    assert f"python3 manage.py watch {ID}" in capsys.readouterr().err


# orders


def orders(engine, *more):
    return run("orders", "--url", engine.url, *more)


def page(*results, following=None):
    return [(200, {"next": following, "previous": None, "results": list(results)})]


def test_orders_asks_for_what_is_wanted_and_leaves_the_rest_out(engine):
    engine.answers["GET"] = page()
    orders(engine)
    orders(engine, "--status", "pending", "triggered", "--type", "limit", "--pair", "SOL-USDC", "--limit", "50")
    orders(engine, "--status", "pending", "--status", "failed", "--cursor", "cD0x")
    assert [path for _, path, _, _ in engine.heard] == [
        "/api/orders?limit=20",
        "/api/orders?status=pending&status=triggered&type=limit&pair=SOL-USDC&limit=50",
        "/api/orders?status=pending&status=failed&limit=20&cursor=cD0x",
    ]


def test_orders_shows_each_on_a_line_with_what_matters(engine, capsys):
    engine.answers["GET"] = page(
        engine.order(resting={"best": "154.2", "ageMs": 310, "awayBps": "64.85"}),
        engine.order(orderId=OTHER, type="sniper", pair=f"SOL-{MINT}", limitPrice=None, trigger={"kind": "launch"}),
        engine.order(orderId=OTHER, type="market", limitPrice=None, status="confirmed"),
    )
    assert orders(engine) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert re.split(r" {2,}", head) == list(listing.HEAD)
    assert [re.split(r" {2,}", line) for line in lines] == [
        [ID, "limit", "SOL-USDC", "2", "155.2", "pending", "64.85", "-"],
        [OTHER, "sniper", "SOL-EPjF…Dt1v", "2", "launch", "pending", "-", "-"],
        [OTHER, "market", "SOL-USDC", "2", "-", "confirmed", "-", "-"],
    ]


def test_the_table_fits_120_columns_whatever_the_orders_are_and_keeps_every_id_whole(engine):
    rows = [
        engine.order(
            type="sniper",
            pair=f"{MINT}-{MINT}",
            amount="12345678901234567890.123456789",
            limitPrice=None,
            status="cancelled",
            trigger=[{"kind": "launch"}, *CONDITIONS],
        ),
        engine.order(
            limitPrice="0.00000123456789012345678",
            expiresAt="2027-11-20T12:00:00Z",
            resting={"best": "1", "ageMs": 1, "awayBps": "123456789.123456"},
        ),
    ]
    lines = listing.listing(rows, NOW).splitlines()
    assert max(map(len, lines)) <= 120
    assert all(line.startswith(ID) for line in lines[1:])
    assert "…" in lines[1]


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"kind": "launch"}, "launch"),
        (CONDITIONS, "liquidity 50000, volume 10000/60"),
        ([{"kind": "launch"}, CONDITIONS[0]], "launch, liquidity 50000"),
    ],
)
def test_what_a_sniper_order_waits_for_is_listed_as_it_is_typed(trigger, words):
    assert listing.terms({"limitPrice": None, "trigger": trigger}) == words


@pytest.mark.parametrize(
    ("kind", "resting", "words"),
    [
        ("limit", {"best": "154.2", "ageMs": 310, "awayBps": "64.85"}, "64.85"),
        ("limit", {"best": "155.2", "ageMs": 310, "awayBps": "0"}, "0"),
        ("limit", {"best": None, "ageMs": None, "awayBps": None}, "unknown"),
        ("limit", None, "-"),
        ("sniper", {"best": None, "ageMs": None, "awayBps": None}, "-"),
    ],
)
def test_how_far_the_price_is_is_told_of_a_limit_order_that_rests(kind, resting, words):
    assert listing.away({"type": kind, "resting": resting}) == words


@pytest.mark.parametrize(
    ("lasts", "words"),
    [
        (timedelta(days=1, hours=2, minutes=3), "1d 2h"),
        (timedelta(hours=23, minutes=59, seconds=59), "23h 59m"),
        (timedelta(minutes=9, seconds=58), "9m 58s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=-1), "now"),
    ],
)
def test_how_much_longer_an_order_may_rest_is_told_in_its_two_largest_units(lasts, words):
    expires_at = (NOW + lasts).isoformat()
    assert listing.patience({"status": "pending", "expiresAt": expires_at}, NOW) == words
    assert listing.patience({"status": "expired", "expiresAt": expires_at}, NOW) == "-"


def test_orders_says_how_to_get_the_next_page(engine, capsys):
    following = f"{engine.url}/api/orders?cursor=cD0y%3D&limit=5&status=pending"
    engine.answers["GET"] = page(engine.order(), following=following)
    assert orders(engine, "--status", "pending", "--limit", "5") == 0
    again = f"python3 manage.py orders --status pending --limit 5 --cursor cD0y= --url {engine.url}"
    assert capsys.readouterr().out.splitlines()[-1] == f"There are more: {again}"


def test_orders_as_json_writes_one_a_line_and_tells_of_the_next_page_elsewhere(engine, capsys):
    rows = [engine.order(), engine.order(orderId=OTHER)]
    engine.answers["GET"] = page(*rows, following=f"{engine.url}/api/orders?cursor=cD0y&limit=20")
    assert orders(engine, "--json") == 0
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == rows
    assert "orders --json --cursor cD0y" in said.err


def test_no_orders_are_told_from_no_such_orders(engine, capsys):
    engine.answers["GET"] = page()
    assert orders(engine) == 0
    assert orders(engine, "--status", "failed") == 0
    assert orders(engine, "--json") == 0
    assert capsys.readouterr().out == "There are no orders.\nThere are no such orders.\n"


def test_a_filter_the_engine_refuses_is_told_in_its_words(engine):
    field = {"field": "pair", "value": "SOL-XXX", "message": "is not a pair", "accepted": "a pair of /api/pairs"}
    engine.answers["GET"] = [(400, error("invalid", "pair is not a pair", [field]))]
    code, message = refused("orders", "--pair", "SOL-XXX", "--url", engine.url)
    assert code == 2
    assert message == "invalid: pair is not a pair\n  pair='SOL-XXX'; accepted: a pair of /api/pairs"


# cancel


def cancel(engine, *more):
    return run("cancel", *more, "--url", engine.url)


def test_cancel_cancels_each_order_it_is_given(engine, capsys):
    engine.answers["DELETE"] = [(200, engine.order(status="cancelled", seq=2))]
    assert cancel(engine, ID, OTHER) == 0
    assert [(method, path) for method, path, _, _ in engine.heard] == [
        ("DELETE", f"/api/orders/{ID}"),
        ("DELETE", f"/api/orders/{OTHER}"),
    ]
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{ID} cancelled", f"{OTHER} cancelled", "2 cancelled, 0 no longer resting"]


def test_an_order_that_rested_no_longer_is_told_with_the_status_that_won_and_exits_1(engine, capsys):
    engine.answers["DELETE"] = [(409, error("not_resting"))]
    engine.answers["GET"] = [(200, engine.order(status="confirmed", seq=6))]
    assert cancel(engine, ID) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{ID} was not cancelled: it no longer rests, it is confirmed\n"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "it had fired, and rests again; repeat it"),
        ({"timeInForce": "ioc"}, "it never rests: it executes at once or not at all"),
        ({"type": "market", "limitPrice": None, "timeInForce": None}, "it never rests"),
    ],
)
def test_an_order_that_is_pending_and_was_not_cancelled_is_told_with_why(engine, capsys, facts, words):
    engine.answers["DELETE"] = [(409, error("not_resting"))]
    engine.answers["GET"] = [(200, engine.order(seq=4, **facts))]
    assert cancel(engine, ID) == 1
    assert words in capsys.readouterr().err


def test_cancelling_twice_is_no_failure(engine, capsys):
    engine.answers["DELETE"] = [(409, error("not_resting"))]
    engine.answers["GET"] = [(200, engine.order(status="cancelled", seq=2))]
    assert cancel(engine, ID) == 0
    assert capsys.readouterr().out == f"{ID} already cancelled\n"


def test_an_unknown_order_exits_2_and_keeps_the_others_from_nothing(engine, capsys):
    engine.answers["DELETE"] = [(404, error("not_found", "there is no such order")), (200, engine.order())]
    assert cancel(engine, ID, OTHER) == 2
    said = capsys.readouterr()
    assert said.err == f"{ID} was not cancelled: not_found: there is no such order\n"
    assert said.out.splitlines() == [f"{OTHER} cancelled", "1 cancelled, 0 no longer resting, 1 refused"]


@pytest.mark.parametrize(("more", "query"), [([], "pair=SOL-USDC"), (["--type", "limit"], "pair=SOL-USDC&type=limit")])
def test_cancel_takes_all_that_rest_of_a_pair(engine, capsys, more, query):
    engine.answers["DELETE"] = [(200, {"pair": "SOL-USDC", "cancelled": 3, "lost": 0, "complete": True})]
    assert cancel(engine, "--pair", "SOL-USDC", *more) == 0
    assert engine.heard == [("DELETE", f"/api/orders?{query}", None, None)]
    assert capsys.readouterr().out == "SOL-USDC: 3 cancelled, 0 no longer resting\n"


def test_orders_of_a_pair_that_were_lost_to_a_fill_exit_1(engine, capsys):
    engine.answers["DELETE"] = [(200, {"pair": "SOL-USDC", "cancelled": 3, "lost": 1, "complete": True})]
    assert cancel(engine, "--pair", "SOL-USDC") == 1
    assert "3 cancelled, 1 no longer resting" in capsys.readouterr().out


def test_a_pair_that_was_not_gone_through_to_the_end_exits_1_and_says_so(engine, capsys):
    engine.answers["DELETE"] = [(200, {"pair": "SOL-USDC", "cancelled": 3, "lost": 0, "complete": False})]
    assert cancel(engine, "--pair", "SOL-USDC") == 1
    assert "run it again for the rest" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], [ID, "--pair", "SOL-USDC"], [ID, "--type", "limit"], ["--type", "limit"]])
def test_cancel_wants_ids_or_a_pair_and_never_both(engine, words):
    code, message = refused("cancel", *words, "--url", engine.url)
    assert code == 2
    assert "order ids, or --pair" in message
    assert engine.heard == []


# amend

AMENDED = {"kind": "amended", "amended": {"limitPrice": {"from": "155.2", "to": "156"}}}


def amend(engine, *more):
    return run("amend", ID, *more, "--url", engine.url)


def test_amend_reads_the_last_event_and_changes_the_order_as_it_stood_then(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=3))]
    engine.answers["PATCH"] = [(200, engine.order(seq=4, limitPrice="156", result=AMENDED))]
    assert amend(engine, "--price", "156") == 0
    assert engine.heard == [
        ("GET", f"/api/orders/{ID}", None, None),
        ("PATCH", f"/api/orders/{ID}", {"limitPrice": "156"}, '"3"'),
    ]
    assert capsys.readouterr().out == f"order {ID} amended: limit from 155.2 to 156; last event 4\n"


def test_amend_with_a_seq_reads_nothing_first(engine):
    engine.answers["PATCH"] = [(200, engine.order(seq=4, result=AMENDED))]
    assert amend(engine, "--price", "156", "--seq", "3") == 0
    assert [(method, match) for method, _, _, match in engine.heard] == [("PATCH", '"3"')]


def test_amend_sends_what_was_given_and_null_for_what_is_to_go(engine):
    engine.answers["PATCH"] = [(200, engine.order(seq=4, result=AMENDED))]
    amend(engine, "--seq", "3", "--amount", "3", "--expires", "never", "--max-price", "none")
    amend(engine, "--seq", "3", "--expires", "2026-11-22T18:00:00Z", "--max-price", "0.02")
    assert [body for _, _, body, _ in engine.heard] == [
        {"amount": "3", "expiresAt": None, "maxPrice": None},
        {"expiresAt": "2026-11-22T18:00:00Z", "maxPrice": "0.02"},
    ]


def test_an_order_that_is_so_already_is_not_called_amended(engine, capsys):
    engine.answers["PATCH"] = [(200, engine.order(seq=3, result=AMENDED))]
    assert amend(engine, "--price", "156", "--seq", "3") == 0
    assert "nothing changed" in capsys.readouterr().out


def test_an_order_that_fires_at_its_new_price_at_once_is_told_as_amended(engine, capsys):
    engine.answers["PATCH"] = [(200, engine.order(seq=5, status="triggered", result={"trigger": PRICE}))]
    assert amend(engine, "--price", "1", "--seq", "3") == 0
    assert capsys.readouterr().out == f"order {ID} amended; it is triggered since, last event 5\n"


def test_an_order_that_changed_meanwhile_is_left_alone_and_told_with_its_new_seq(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=3)), (200, engine.order(seq=5))]
    engine.answers["PATCH"] = [(412, error("changed"))]
    assert amend(engine, "--price", "156") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"order {ID} was not amended: it changed meanwhile; it is pending, its last event 5 and not 3" in said.err
    assert f"watch {ID} --after 3" in said.err
    assert [method for method, _, _, _ in engine.heard] == ["GET", "PATCH", "GET"]


def test_an_order_that_no_longer_rests_is_not_amended_and_exits_1(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(status="confirmed", seq=6))]
    engine.answers["PATCH"] = [(409, error("not_resting"))]
    assert amend(engine, "--price", "156") == 1
    assert capsys.readouterr().err == f"order {ID} was not amended: it no longer rests, it is confirmed\n"


def test_an_amendment_the_engine_refuses_names_the_field(engine):
    field = {"field": "limitPrice", "value": "0", "message": "must be above 0", "accepted": "a decimal above 0"}
    engine.answers["PATCH"] = [(400, error("invalid", "limitPrice must be above 0", [field]))]
    code, message = refused("amend", ID, "--price", "0", "--seq", "1", "--url", engine.url)
    assert code == 2
    assert "limitPrice='0'; accepted: a decimal above 0" in message


def test_amend_wants_something_to_change(engine):
    code, message = refused("amend", ID, "--url", engine.url)
    assert code == 2
    assert "--price, --amount, --expires or --max-price" in message
    assert engine.heard == []


# All of them

ASKING = [
    ["order", "limit", "SOL", "USDC", "2", "--price", "1"],
    ["order", "sniper", "SOL", "WIF", "2", "--launch"],
    ["orders"],
    ["watch", ID],
    ["cancel", ID],
    ["cancel", "--pair", "SOL-USDC"],
    ["amend", ID, "--price", "1"],
    ["amend", ID, "--price", "1", "--seq", "1"],
]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_without_an_engine_each_says_how_to_start_one(words):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        code, message = refused(*words, "--url", url)
    assert code == 2
    assert url in message
    assert "`python3 manage.py up`" in message


@pytest.mark.parametrize("answer", ["<html>It works!</html>", "[]", '{"orderId": 1}', '{"error": "no"}'])
@pytest.mark.parametrize("words", ASKING[2:], ids=" ".join)
def test_a_server_that_is_no_engine_is_called_that(engine, words, answer):
    engine.answers = always(200, answer)
    code, message = refused(*words, "--url", engine.url)
    assert code == 2
    assert "is --url right?" in message


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        (["orders"], "ask again"),
        (["watch", ID], "ask again"),
        (["cancel", ID], "may have been cancelled; repeating is safe"),
        (["cancel", "--pair", "SOL-USDC"], "may have been cancelled; repeating is safe"),
        (["amend", ID, "--price", "1", "--seq", "1"], "may have been amended"),
    ],
    ids=str,
)
def test_a_lost_answer_says_what_may_have_happened(engine, words, doubt):
    engine.answers = always(200, DROP)
    code, message = refused(*words, "--url", engine.url)
    assert code == 2
    assert "was lost" in message
    assert doubt in message


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("words", [["orders"], ["watch", ID], ["cancel", ID], ["amend", ID, "--price", "1"]], ids=str)
def test_ctrl_c_before_the_answer_exits_130_and_says_what_may_have_happened(engine, words):
    engine.answers = always(200, INTERRUPT)
    code, message = refused(*words, "--url", engine.url)
    assert code == 130
    assert "interrupted before" in message


@pytest.mark.parametrize("words", [["watch", "1"], ["cancel", "1"], ["amend", "1", "--price", "1"]], ids=str)
def test_what_is_no_order_id_exits_2_without_asking(words):
    with pytest.raises(CommandError, match="invalid UUID"):
        call_command(*words)


@pytest.mark.parametrize("name", ["order", "orders", "watch", "cancel", "amend"])
def test_the_help_of_each_names_its_exit_codes(name, capsys):
    assert run(name, "--help") == 0
    assert "Exit codes: 0" in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_new_commands_need_neither_store(engine):
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    engine.answers["GET"] = page(engine.order())
    done = manage("orders", "--url", engine.url, "--json", **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == engine.order()
