"""What the load scenarios hold an engine to: each way to misbehave is found, and named."""

import json
from argparse import Namespace
from dataclasses import replace
from decimal import Decimal

import pytest

from orders.stores import event_codec
from tests.chaos.checker.world import World
from tests.load.delivery import differences
from tests.load.followers import Histories
from tests.load.scenarios.copies import Copies, Progress, joined_late
from tests.load.scenarios.options import profile_of
from tests.load.scenarios.pace import Profile
from tests.load.scenarios.prices import amount_of, beside
from tests.load.scenarios.story import Story, Wrong
from tests.load.scenarios.tally import Tally
from tests.load.scenarios.thresholds import Figures, Thresholds, broken, p95
from tests.load.scenarios.truth import row_differs

ID = "01a20361-7973-714d-827d-fcc9ccffe726"
ASKED = {
    "market": {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"},
    "limit": {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "limitPrice": "150"},
    "sniper": {"type": "sniper", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"},
}
OFFER = {"feeBps": 25, "netPrice": "155", "ageMs": 10}
FACTS = {
    "pending": {"type": "market", "pair": "SOL-USDC", "amountIn": "1.5", "slippageBps": 50},
    "triggered": {
        "trigger": {
            "kind": "price",
            "venue": "RAYDIUM",
            "price": "151",
            "limitPrice": "150",
            "observedAt": "2026-01-01T00:00:00Z",
            "ageMs": 1,
            "polls": 1,
        }
    },
    "routing": {
        "venue": "RAYDIUM",
        "reason": "pays more",
        "source": "fresh",
        "quotes": [
            {"venue": "RAYDIUM", "price": "156", "amountOut": "233", **OFFER},
            {"venue": "METEORA", "price": "155", "amountOut": "232", **OFFER},
        ],
        "missing": [],
    },
    "building": {"venue": "RAYDIUM", "expectedOut": "233", "minimumOut": "231", "quotedPrice": "155.3"},
    "submitted": {"venue": "RAYDIUM", "txHash": "abc", "lastValidBlockHeight": 9},
    "confirmed": {
        "venue": "RAYDIUM",
        "txHash": "abc",
        "slot": 5,
        "amountIn": "1.5",
        "amountOut": "232.5",
        "executedPrice": "155",
        "slippageBps": "21",
        "fees": {"venueFeeBps": 25, "venueFee": "0.01", "venueFeeToken": "SOL", "networkFeeLamports": 5000},
    },
    "failed": {"code": "no_quote", "message": "none", "replayMayHelp": True},
    "cancelled": {"reason": "by the client"},
    "expired": {"reason": "over", "expiresAt": "2026-01-01T00:00:00Z"},
}
LIFE = ["pending", "routing", "building", "submitted", "confirmed"]
LIMIT_LIFE = ["pending", "triggered", *LIFE[1:]]


def heard(stages, kind="market", **changed):
    """Tell an order these stages, with facts of some of them changed."""
    story = Story(ID, ASKED[kind])
    for number, status in enumerate(stages, 1):
        facts = FACTS[status] | ({"type": kind} if status == "pending" else {})
        if (status, kind) == ("pending", "limit"):
            facts = facts | {"limitPrice": "150"}
        event = {
            "orderId": ID,
            "seq": number,
            "status": status,
            "at": f"2026-01-01T00:00:{number:02}Z",
            "attempt": 1,
            **event_codec.with_kind(status, facts | changed.get(status, {})),
        }
        story.hear(json.dumps(event), event)
    return story


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("market", LIFE),
        ("market", ["pending", "routing", "routing", "building", "submitted", "failed"]),
        ("limit", LIMIT_LIFE),
        ("limit", ["pending", "pending", "cancelled"]),
        ("limit", ["pending", "triggered", "routing", "pending", "expired"]),
    ],
)
def test_a_right_story_is_told_without_complaint(kind, stages):
    amended = {"amended": {"limitPrice": {"from": "150", "to": "149"}}}
    assert heard(stages, kind, pending=amended if stages[1] == "pending" else {}).is_final


@pytest.mark.parametrize("left_out", LIFE[:-1])
def test_a_stage_that_is_missing_is_found(left_out):
    with pytest.raises(Wrong, match="may not follow"):
        heard([stage for stage in LIFE if stage != left_out])


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("market", ["pending", "triggered"]),
        ("market", [*LIFE, "confirmed"]),
        ("market", ["pending", "expired"]),
        ("limit", ["pending", "routing"]),
        ("limit", [*LIMIT_LIFE[:-1], "expired"]),
        ("sniper", ["pending", "building"]),
    ],
)
def test_a_stage_out_of_turn_is_found(kind, stages):
    with pytest.raises(Wrong, match="may not follow"):
        heard(stages, kind)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"routing": {"seq": 3}}, "seq 3 where 2 was due"),
        ({"building": {"seq": 2}}, "seq 2 where 3 was due"),
        ({"pending": {"orderId": "01a20361-7973-714d-827d-000000000000"}}, "an event of"),
        ({"routing": {"at": "2025-01-01T00:00:00Z"}}, "happened before"),
        ({"building": {"minimumOut": "few"}}, "facts of building"),
        ({"pending": {"amountIn": "1.6"}}, "asked for amount 1.5, told 1.6"),
        ({"pending": {"pair": "SOL-USDT"}}, "told to be of SOL-USDT"),
        ({"routing": {"venue": "METEORA"}}, "though the venues pay"),
        ({"building": {"venue": "METEORA"}}, "though routed to RAYDIUM"),
        ({"building": {"minimumOut": "234"}}, "expects 233 and accepts 234"),
        ({"confirmed": {"txHash": "abd"}}, "submitted as abc"),
        ({"confirmed": {"amountOut": "230.9"}}, "accepted at least 231"),
        ({"confirmed": {"amountIn": "1.4"}}, "sold 1.4 instead of 1.5"),
    ],
)
def test_facts_that_contradict_each_other_are_found(changed, complaint):
    with pytest.raises(Wrong, match=complaint):
        heard(LIFE, **changed)


def test_an_order_that_fires_below_its_limit_is_found():
    with pytest.raises(Wrong, match=r"fired at 149\.9, below its limit price 150"):
        heard(LIMIT_LIFE, "limit", triggered={"trigger": FACTS["triggered"]["trigger"] | {"price": "149.9"}})


def test_a_fill_worse_than_its_limit_is_found():
    least = {"expectedOut": "224", "minimumOut": "224"}
    with pytest.raises(Wrong, match="worse than its limit price 150"):
        heard(LIMIT_LIFE, "limit", building=least, confirmed={"amountOut": "224.9"})


def test_a_limit_that_was_amended_is_the_one_that_counts():
    story = heard(["pending"], "limit")
    first = story.raw()[0]
    story.hear("", first | {"seq": 2, "kind": "amended", "amended": {"limitPrice": {"from": "150", "to": "152"}}})
    with pytest.raises(Wrong, match="fired at 151, below its limit price 152"):
        story.hear("", first | {"seq": 3, "status": "triggered", "kind": "triggered", **FACTS["triggered"]})


def test_a_sniper_that_fires_on_less_than_it_waits_for_is_found():
    conditions = [{"kind": "liquidity", "atLeast": "50000", "value": "49999"}]
    with pytest.raises(Wrong, match="fired on liquidity 49999, below 50000"):
        seen = {"kind": "market", "event": None, "conditions": conditions}
        heard(["pending", "triggered"], "sniper", triggered={"trigger": seen})


def test_a_sniper_that_fires_on_a_price_is_found():
    with pytest.raises(Wrong, match="fired on PriceSeen"):
        heard(["pending", "triggered"], "sniper")


def test_a_transaction_told_twice_is_found():
    with pytest.raises(Wrong, match="submitted twice"):
        heard([*LIFE[:-1], "routing", "building", "submitted"])


def test_an_order_that_ends_otherwise_than_it_was_to_is_found():
    with pytest.raises(Wrong, match="ended failed instead of confirmed"):
        heard(["pending", "failed"]).must_end("confirmed")


def test_a_socket_that_misses_repeats_or_changes_a_message_is_found():
    story, progress, copies = heard(LIFE), Progress("socket 1"), Copies(clock=iter((1.0, 1.25, 2.0)).__next__)
    progress.take(story.raw()[0])
    with pytest.raises(Wrong, match=r"seq 3 of order .* where 2 was due"):
        progress.take(story.raw()[2])
    with pytest.raises(Wrong, match=r"seq 1 of order .* where 2 was due"):
        progress.take(story.raw()[0])
    assert progress.lacks([story]) == [ID]
    for event in story.raw()[1:]:
        progress.take(event)
    assert progress.lacks([story]) == []
    assert copies.compare("a", story.raw()[0]) == 0
    assert copies.compare("a", story.raw()[0]) == 250
    with pytest.raises(Wrong, match="on one socket"):
        copies.compare("b", story.raw()[0])


def test_a_late_client_must_get_exactly_what_it_lacked():
    story = heard(LIFE)
    joined_late(story, 2, story.texts[2:])
    for wrong in (story.texts[1:], story.texts[3:], story.texts):
        with pytest.raises(Wrong, match="knew it up to 2"):
            joined_late(story, 2, wrong)


EVENTS = json.dumps([[number, stage] for number, stage in enumerate(LIFE, 1)])
LANDED = '[["landed", "abc"]]'


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("confirmed", 5, EVENTS, LANDED), None),
        (("submitted", 4, EVENTS, LANDED), "Postgres has submitted with 4"),
        (("confirmed", 5, json.dumps(json.loads(EVENTS)[:-1]), LANDED), "Postgres has the events"),
        (("confirmed", 5, EVENTS, "[]"), "Postgres has the attempts []"),
        (("confirmed", 5, EVENTS, '[["landed", "abc"], ["landed", "abd"]]'), "Postgres has the attempts"),
        (("confirmed", 5, EVENTS, '[["landed", "abd"]]'), "Postgres has the attempts"),
    ],
)
def test_a_row_that_is_not_what_was_told_is_found(row, complaint):
    found = list(row_differs(heard(LIFE), *row))
    assert [complaint in one for one in found] == ([True] if complaint else [])


KEPT = Figures(
    asked=200,
    asked_per_minute=100,
    accepted=200,
    seconds=120,
    ends={"confirmed": 200},
    wrong=0,
    lost=0,
    most_at_once=4,
    post_p95_ms=20,
    final_p95_ms=1500,
    messages=1000,
)
MUST = Thresholds(messages=1000)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"post_p95_ms": 640}, "POST to 202, p95: 640 ms, 140 above the 500 ms allowed"),
        ({"final_p95_ms": 5001}, "accepted or fired to final, p95: 5,001 ms, 1 above the 5,000 ms allowed"),
        ({"wrong": 3}, "orders with which something was wrong: 1.5 %, 1.5 above the 0 % allowed"),
        ({"lost": 1}, "orders accepted and never seen final: 1, 1 above the 0 allowed"),
        ({"accepted": 180}, "orders accepted: 90 per minute, 5 below the 95 per minute asked for"),
        ({"seconds": 150}, "orders accepted: 80 per minute, 15 below the 95 per minute asked for"),
        ({"messages": 999}, "status messages received: 999, 1 below the 1,000 asked for"),
        ({"lag_p95_ms": 1200}, "p95: 1,200 ms, 200 above the 1,000 ms allowed"),
    ],
)
def test_a_threshold_that_is_not_kept_is_told_with_by_how_much(changed, sentence):
    assert broken(KEPT, MUST) == []
    (told,) = broken(replace(KEPT, **changed), MUST)
    assert told.endswith(sentence)


def test_p95_is_what_one_in_twenty_is_above():
    assert p95(range(1, 101)) == 95
    assert p95([7]) == 7
    assert p95([]) == 0


def test_orders_are_due_at_an_even_pace_however_late_the_last_one_was():
    now = [10.0]
    tally = Tally(Profile(120, 2, 2), clock=lambda: now[0])
    assert tally.take() == (0, 0.0)
    assert tally.take() == (1, 0.5)
    now[0] = 11.2
    assert tally.take() == (2, 0.0)
    assert tally.take() == (3, pytest.approx(0.3))
    assert tally.take() is None


def test_a_tally_knows_what_was_lost_and_how_many_were_on_their_way():
    tally = Tally(Profile(60, 2, 3), clock=iter((0.0, 1.0, 6.0)).__next__)
    tally.begun = tally.clock()
    for story, took_ms in ((heard(LIFE), 5), (heard(LIFE[:2]), 7)):
        tally.start()
        tally.accepted(story, took_ms)
    tally.finish()
    figures = tally.figures()
    assert (figures.accepted, figures.lost, figures.ends) == (2, 1, {"confirmed": 1})
    assert (figures.most_at_once, figures.seconds, figures.per_minute) == (2, 6.0, 20.0)
    assert not tally.is_over


def test_prices_are_on_the_tick_and_on_the_right_side():
    assert beside(Decimal("155.237"), 1, Decimal("0.01")) == Decimal("155.26")
    assert beside(Decimal("155.237"), -100, Decimal("0.01")) == Decimal("153.68")
    assert beside(Decimal("0.004"), -100, Decimal("0.01")) == Decimal("0.01")
    assert amount_of("SOL", 0) != amount_of("SOL", 1)


def test_a_load_that_cannot_be_is_refused_by_name():
    asked = Namespace(profile="brief", orders_per_minute=None, concurrent=None, seconds=30.0)
    assert profile_of(asked) == Profile(100, 10, 30)
    with pytest.raises(ValueError, match="--profile much: there is no such load; take one of brief, more"):
        profile_of(Namespace(**{**vars(asked), "profile": "much"}))
    with pytest.raises(ValueError, match="--seconds -1: give a number above 0"):
        profile_of(Namespace(**{**vars(asked), "seconds": -1.0}))


def told(*statuses, epoch=0, order_id=ID):
    return [
        {"orderId": order_id, "epoch": epoch, "seq": seq, "status": status} for seq, status in enumerate(statuses, 1)
    ]


def held(*messages):
    histories = Histories()
    for message in messages:
        histories.take(message)
    return histories


def test_what_a_client_was_not_told_or_told_otherwise_is_named():
    events = told("pending", "routing", "confirmed")
    world = World(rows={ID: None}, events={ID: events})
    assert differences(held(*events), [ID], world) == []
    assert "is not told" in differences(held(), [ID], world)[0]
    assert "the rows have" in differences(held(*events[:2]), [ID], world)[0]
    assert "the rows have" in differences(held(*told("pending", "routing", "failed")), [ID], world)[0]
    assert "is unknown" in differences(held(*events, *told("pending", order_id="another")), [ID], world)[0]
    assert "is not told" in differences(held(*events), [ID, "another"], world)[0]


def test_a_client_takes_a_later_epoch_in_place_of_what_it_has_and_no_gap():
    first, later = told("pending", "routing", "building"), told("pending", "cancelled", epoch=1)
    histories = held(*first, *first, later[1])
    assert [one["status"] for one in histories.held[ID]] == ["pending", "cancelled"]
    assert (histories.repeats, histories.ended) == (3, 1)
    with pytest.raises(AssertionError, match="came after 1"):
        held(first[0], first[2])
    with pytest.raises(AssertionError, match="told otherwise"):
        held(*first, first[1] | {"status": "failed"})
