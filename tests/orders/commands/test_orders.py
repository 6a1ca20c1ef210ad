"""The command `orders`."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from orders.management.commands import orders as listing
from tests.orders.commands.standin import CONDITIONS, ID, MINT, OTHER, error, orders, page, refused

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


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
