"""Events in words."""

import pytest

from orders.operations import story
from tests.orders.commands.standin import CHECKS, CONDITIONS, LIMIT, PRICE, SNIPER, told


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (LIMIT, "sell 2 SOL-USDC at 155.2 or better, slippage at most 50 bps, until cancelled"),
        (
            {**LIMIT, "timeInForce": "ioc"},
            "sell 2 SOL-USDC at 155.2 or better, slippage at most 50 bps, immediate or cancel",
        ),
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


def test_a_sniper_order_that_fires_shows_what_was_seen_and_each_token_check_on_a_line_of_its_own():
    happened = {"id": "e1", "kind": "trade", "venue": "RAYDIUM", "usd": "4100", "at": LIMIT["at"], "ageMs": 12}
    met = [{**CONDITIONS[0], "value": "61250"}, {**CONDITIONS[1], "value": "10050"}]
    trigger = {"kind": "volume", "event": happened, "conditions": met}
    head, *checks = story.line(told(2, "triggered", 0, trigger=trigger, gates=CHECKS), 1.5).splitlines()
    assert head == (
        "    1.500 s  triggered  trade at RAYDIUM of 4100 USD, 12 ms old; "
        "met: liquidity of 50000 USD (observed: 61250) and volume of 10000 USD in 60 s (observed: 10050)"
    )
    assert [check.strip() for check in checks] == [
        "pass   mintAuthority: none, renounced (token)",
        "refuse topHolder: unknown (token)",
    ]
    assert {len(check) - len(check.lstrip()) for check in checks} == {head.index("trade")}


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (None, ""),
        ({}, ""),
        ({"kind": "launch", "event": {}}, "launch"),
        ({"kind": "launch", "event": None, "conditions": []}, "launch"),
        ({"event": None, "conditions": [{"kind": "launch", "value": "1 pools"}]}, "met: launch (observed: 1 pools)"),
    ],
)
def test_a_trigger_that_says_little_is_told_as_far_as_it_goes(trigger, words):
    assert story.told(told(2, "triggered", 0, trigger=trigger)) == words
