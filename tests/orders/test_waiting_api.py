"""Orders that wait, over HTTP: shown beside the market, cancelled and amended."""

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest
from django.db import OperationalError
from hypothesis import example, given
from hypothesis import strategies as st

from orders.flow import recovery, waiting
from orders.stores import order_view, swaps
from orders.stores.threads import aside
from routing import quotes
from routing.store import StoreError, redis
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.doors import (
    LAUNCH,
    LIMIT,
    MINT,
    ORDER,
    SNIPER,
    ahead,
    delete,
    error_of,
    field_of,
    get,
    http,
    patch,
    placed,
    shown,
)
from tests.orders.sniping import Market, list_token, new_mint

# What an order waits beside


@pytest.mark.parametrize(
    ("best", "away"), [("155", "322.59"), ("160", "0"), ("161", "0"), ("159.999999999", "0.01"), ("0.000001", None)]
)
async def test_a_limit_order_shows_how_far_best_is_from_its_price(bench, best, away):
    order_id = await placed(LIMIT)
    await aside(bench.price, best, age_ms=300)
    resting = (await shown(order_id))["resting"]
    assert resting["best"] == best
    assert 300 <= resting["ageMs"] < 10_000
    assert resting["awayBps"] == (away or "1599999990000")


async def test_a_limit_order_without_a_price_beside_it_says_so(bench):
    assert (await shown(await placed(LIMIT)))["resting"] == {"best": None, "ageMs": None, "awayBps": None}


async def test_a_sniper_order_shows_the_price_of_its_pair_if_there_is_one(bench):
    listed, unlisted = await placed(SNIPER | {"tokenOut": "USDC"}), await placed(SNIPER)
    await aside(bench.price, "155")
    assert (await shown(listed))["resting"]["best"] == "155"
    assert (await shown(unlisted))["resting"]["best"] is None


async def test_a_sniper_order_shows_each_condition_with_its_value_and_whether_it_is_met(bench):
    mint = new_mint()
    await aside(list_token, mint)
    asked = [
        {"kind": "launch"},
        {"kind": "liquidity", "atLeast": "50000"},
        {"kind": "volume", "atLeast": "900", "windowS": 60},
    ]
    order_id = await placed(SNIPER | {"tokenOut": mint, "trigger": asked})
    unmet = [{**one, "value": "0", "met": False} for one in asked]
    assert (await shown(order_id))["resting"]["conditions"] == unmet
    await aside(Market(mint).pool, 60_000)
    await aside(Market(mint).trade, 450)
    launch, liquidity, volume = unmet
    assert (await shown(order_id))["resting"]["conditions"] == [
        {**launch, "value": "1", "met": True},
        {**liquidity, "value": "60000", "met": True},
        {**volume, "value": "450"},
    ]
    (listed,) = (await get("/api/orders?type=sniper")).json()["results"]
    assert listed["resting"]["conditions"][2]["value"] == "450"


async def test_a_sniper_order_says_that_the_market_is_unknown_while_its_store_is_away(bench, monkeypatch):
    order_id = await placed(SNIPER)

    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr("routing.tape.states", away)
    assert (await shown(order_id))["resting"] == {"best": None, "conditions": None}


async def test_an_order_that_does_not_wait_shows_nothing_beside_it(bench):
    market, cancelled = await placed(ORDER), await placed(LIMIT)
    await delete(f"/api/orders/{cancelled}")
    await aside(bench.price, "155")
    assert (await shown(market))["resting"] is None
    assert (await shown(cancelled))["resting"] is None


async def test_what_an_order_waits_beside_is_left_out_while_redis_is_away(bench, monkeypatch):
    order_id = await placed(LIMIT)
    await aside(bench.price, "155")

    def away(*_):
        raise StoreError("gone")

    monkeypatch.setattr(quotes, "cached", away)
    assert (await shown(order_id))["resting"] == {"best": None, "ageMs": None, "awayBps": None}


async def test_a_page_of_orders_asks_for_prices_once(bench, monkeypatch):
    for body in (LIMIT, LIMIT, SNIPER, ORDER):
        await placed(body)
    asked = []
    cached = quotes.cached
    monkeypatch.setattr(quotes, "cached", lambda pairs: asked.append(set(pairs)) or cached(asked[-1]))
    page = (await get("/api/orders")).json()["results"]
    assert [bool(order["resting"]) for order in page] == [False, True, True, True]
    assert asked == [{"SOL-USDC", f"SOL-{MINT}"}]


@given(
    limit=st.decimals("1e-18", "1e19", allow_nan=False).filter(lambda d: d > 0),
    best=st.decimals("1e-30", "1e19", allow_nan=False).filter(lambda d: d > 0),
)
@example(limit=Decimal("99999999999999999999.999999999999999999"), best=Decimal("1e-30"))
def test_only_a_price_that_is_reached_is_no_way_off(limit, best):
    assert (Decimal(order_view.away_bps(limit, best)) == 0) == (best >= limit)


def test_the_list_is_chosen_by_each_type_and_by_a_pair_that_is_not_listed(bench, client):
    ids = {body["type"]: asyncio.run(placed(body)) for body in (ORDER, LIMIT, SNIPER)}
    for kind, order_id in ids.items():
        (order,) = client.get("/api/orders", {"type": kind}).json()["results"]
        assert order["orderId"] == order_id
    (order,) = client.get("/api/orders", {"pair": f"SOL-{MINT}"}).json()["results"]
    assert order["orderId"] == ids["sniper"]


# Cancelling


@pytest.mark.parametrize("body", [ORDER, LIMIT, SNIPER])
async def test_an_order_that_has_not_begun_is_cancelled(bench, body):
    order_id = await placed(body)
    answer = await delete(f"/api/orders/{order_id}")
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    order = answer.json()
    assert (order["orderId"], order["status"], order["seq"]) == (order_id, "cancelled", 2)
    assert order["result"] == {"kind": "cancelled", "reason": "cancelled by the client"}
    assert await aside(bench.statuses, order_id) == ["pending", "cancelled"]


def lost_after(monkeypatch, name):
    """Have Redis emptied as soon as this function of the swaps has been run."""
    real = getattr(swaps, name)

    def run(*args):
        result = real(*args)
        redis().flushdb()
        return result

    monkeypatch.setattr(swaps, name, run)


@pytest.mark.parametrize("name", ["reserve", "finish"])
async def test_a_cancellation_is_answered_as_it_stands_though_redis_is_lost_amid_it(bench, monkeypatch, name):
    order_id = await placed(LIMIT)
    lost_after(monkeypatch, name)
    answer = await delete(f"/api/orders/{order_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await shown(order_id))["status"] == "cancelled"


@pytest.mark.parametrize("name", ["reserve", "finish"])
async def test_an_amendment_is_answered_as_it_stands_though_redis_is_lost_amid_it(bench, monkeypatch, name):
    order_id = await placed(LIMIT)
    lost_after(monkeypatch, name)
    answer = await patch(f"/api/orders/{order_id}", {"limitPrice": "170"}, 1)
    assert (answer.status_code, answer.json()["limitPrice"]) == (200, "170")
    monkeypatch.undo()
    await aside(recovery.recover)
    order = await shown(order_id)
    assert (order["limitPrice"], order["seq"], order["status"]) == ("170", 2, "pending")
    events = (await get(f"/api/orders/{order_id}/events")).json()["events"]
    assert events[-1]["amended"] == {"limitPrice": {"from": "160", "to": "170"}}


async def test_an_order_that_is_over_cannot_be_cancelled_and_says_where_it_stands(bench):
    await aside(bench.quote_all)
    order_id = await placed(ORDER)
    await aside(bench.run, [order_id])
    answer = await delete(f"/api/orders/{order_id}")
    assert answer.status_code == 409
    error = error_of(answer)
    assert error["code"] == "not_resting"
    assert error["message"] == "the order is confirmed; only a resting order can be cancelled or amended"
    assert (field_of(answer)["field"], field_of(answer)["value"]) == ("status", "confirmed")


async def test_a_cancellation_is_answered_as_what_it_is_although_redis_has_been_lost_since(bench, monkeypatch):
    order_id = await placed(LIMIT)
    real = waiting.cancel

    def lost_meanwhile(*asked):
        real(*asked)
        redis().flushdb()

    monkeypatch.setattr(waiting, "cancel", lost_meanwhile)
    answer = await delete(f"/api/orders/{order_id}")
    assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "cancelled", '"2"')


async def test_an_order_is_cancelled_once_however_many_ask(bench):
    order_id = await placed(LIMIT)
    answers = await asyncio.gather(*(delete(f"/api/orders/{order_id}") for _ in range(8)))
    # Two that ask within one millisecond make the same event, and both may be told that it was theirs.
    assert {answer.status_code for answer in answers} == {200, 409}
    assert await aside(bench.statuses, order_id) == ["pending", "cancelled"]


@pytest.mark.parametrize("order_id", ["not-an-id", "019d3f0e-6a51-7c4e-9b1a-2f5f0a8d2c11"])
async def test_an_order_that_is_not_there_cannot_be_cancelled_or_amended(bench, order_id):
    for answer in (await delete(f"/api/orders/{order_id}"), await patch(f"/api/orders/{order_id}", {"amount": 1}, 1)):
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "not_found"


async def test_all_orders_of_a_pair_that_rest_are_cancelled_and_no_others(bench):
    await aside(bench.quote_all)
    limits, sniper = [await placed(LIMIT) for _ in range(3)], await placed(SNIPER | {"tokenOut": "USDC"})
    market = await placed(ORDER)
    other = await placed(LIMIT | {"tokenIn": "JUP", "limitPrice": "1"})
    answer = await delete("/api/orders?pair=SOL-USDC&type=limit")
    assert answer.json() == {"pair": "SOL-USDC", "cancelled": 3, "lost": 0, "complete": True}
    assert [(await shown(order_id))["status"] for order_id in limits] == ["cancelled"] * 3
    assert (await delete("/api/orders?pair=SOL-USDC")).json()["cancelled"] == 1
    assert (await shown(sniper))["status"] == "cancelled"
    assert {(await shown(order_id))["status"] for order_id in (market, other)} == {"pending"}


async def test_what_rests_in_every_pair_is_cancelled_and_nobody_elses(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        alice, bob = [await aside(lambda name=name: bearer(account(name))) for name in ("alice", "bob")]
        both = [await placed(one, **alice) for one in (LIMIT, LIMIT | {"tokenIn": "JUP", "limitPrice": "1"})]
        his = await placed(LIMIT, **bob)
        answer = await delete("/api/orders?pair=*&type=limit", **alice)
        assert answer.json() == {"pair": "*", "cancelled": 2, "lost": 0, "complete": True}
    for order_id in both:
        assert (await aside(bench.events, order_id))[-1]["reason"] == "all cancelled by the client"
    assert await aside(bench.statuses, his) == ["pending"]


async def test_orders_for_a_token_that_is_not_listed_are_cancelled_by_its_mint(bench):
    order_id = await placed(SNIPER)
    assert (await delete(f"/api/orders?pair=SOL-{MINT}")).json()["cancelled"] == 1
    assert (await shown(order_id))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "pair"),
        ("?type=limit", "pair"),
        ("?pair=", "pair"),
        ("?pair=SOL-DOGE", "pair"),
        ("?pair=%00", "pair"),
        ("?pair=SOL-USDC&pair=USDC-SOL", "pair"),
        ("?pair=SOL-USDC&type=market", "type"),
        ("?pair=SOL-USDC&type=", "type"),
        ("?pair=SOL-USDC&type=limit&type=sniper", "type"),
        ("?pair=SOL-USDC&status=pending", "status"),
        ("?pair=SOL-USDC&limit=1", "limit"),
    ],
)
async def test_whoever_cancels_many_must_say_exactly_which(bench, query, name):
    order_id = await placed(LIMIT)
    answer = await delete(f"/api/orders{query}")
    assert answer.status_code == 400
    assert field_of(answer)["field"] == name
    assert (await shown(order_id))["status"] == "pending"


# Amending


async def test_a_resting_order_is_amended_and_shown_as_it_is_now(bench):
    order_id = await placed(LIMIT | {"expiresAt": ahead(hours=1)})
    until = ahead(hours=2)
    answer = await patch(f"/api/orders/{order_id}", {"limitPrice": 158.5, "amount": "2", "expiresAt": until}, 1)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == '"2"'
    order = answer.json()
    assert (order["status"], order["seq"], order["limitPrice"], order["amount"]) == ("pending", 2, "158.5", "2")
    assert datetime.fromisoformat(order["expiresAt"]) == datetime.fromisoformat(until)
    assert order["result"]["amended"]["limitPrice"] == {"from": "160", "to": "158.5"}
    again = await get(f"/api/orders/{order_id}")
    assert (again.headers["etag"], again.json()) == ('"2"', order)


async def test_an_expiry_is_taken_away_and_given(bench):
    order_id = await placed(LIMIT | {"expiresAt": ahead(hours=1)})
    without = (await patch(f"/api/orders/{order_id}", {"expiresAt": None}, 1)).json()
    assert (without["timeInForce"], without["expiresAt"]) == ("gtc", None)
    until = (await patch(f"/api/orders/{order_id}", {"expiresAt": ahead(hours=1)}, 2)).json()
    assert until["timeInForce"] == "gtd" and until["expiresAt"]


async def test_a_sniper_orders_highest_price_is_changed_and_taken_away(bench):
    order_id = await placed(SNIPER)
    assert (await patch(f"/api/orders/{order_id}", {"maxPrice": "0.50"}, 1)).json()["maxPrice"] == "0.5"
    assert (await patch(f"/api/orders/{order_id}", {"maxPrice": None}, 2)).json()["maxPrice"] is None


async def test_the_terms_shown_outlive_redis(bench):
    order_id = await placed(LIMIT)
    await patch(f"/api/orders/{order_id}", {"limitPrice": "158.5"}, 1)
    redis().flushdb()
    assert (await shown(order_id))["limitPrice"] == "158.5"


@pytest.mark.parametrize("seq", ['"1"', "1", 'W/"1"', ' "1" '])
async def test_if_match_may_be_written_in_each_way_an_etag_is(bench, seq):
    order_id = await placed(LIMIT)
    assert (await patch(f"/api/orders/{order_id}", {"amount": "2"}, seq)).status_code == 200


@pytest.mark.parametrize("seq", ["*", '"x"', "", '"1", "2"', "-1", '"1', "1.0", '"9999999999"', "w/1", '""'])
async def test_an_if_match_that_is_no_etag_of_an_order_is_refused(bench, seq):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"}, seq)
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "If-Match"
    assert (await shown(order_id))["seq"] == 1


async def test_an_amendment_that_does_not_say_what_it_is_meant_for_is_refused(bench):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"})
    assert answer.status_code == 428
    assert error_of(answer)["code"] == "precondition_required"
    assert field_of(answer)["field"] == "If-Match"


async def test_of_two_amendments_meant_for_the_same_state_one_is_made(bench):
    order_id = await placed(LIMIT)
    bodies = [{"limitPrice": f"{160 + n}"} for n in range(1, 6)]
    answers = await asyncio.gather(*(patch(f"/api/orders/{order_id}", body, 1) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 4
    late = next(answer for answer in answers if answer.status_code == 412)
    assert error_of(late)["code"] == "changed"
    assert error_of(late)["message"] == "If-Match does not match the order's seq, which is 2"
    assert (field_of(late)["value"], field_of(late)["accepted"]) == ('"1"', '"2", the order\'s ETag')
    assert await aside(bench.statuses, order_id) == ["pending", "pending"]


@pytest.mark.parametrize("body", [LIMIT | {"timeInForce": "ioc"}, ORDER])
async def test_an_order_that_never_rests_cannot_be_amended(bench, body):
    order_id = await placed(body)
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"}, 1)
    assert answer.status_code == 409
    assert error_of(answer)["code"] == "not_resting"
    assert (await shown(order_id))["amount"] == "1.5"


async def test_an_order_that_is_cancelled_cannot_be_amended(bench):
    order_id = await placed(LIMIT)
    await delete(f"/api/orders/{order_id}")
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"}, 2)
    assert answer.status_code == 409
    assert field_of(answer)["value"] == "cancelled"


@pytest.mark.parametrize(
    ("order", "change", "message"),
    [
        (LIMIT, {"limitPrice": "158.505"}, "is not on the tick of 0.01; the nearest are 158.50 and 158.51"),
        (LIMIT, {"limitPrice": None}, "is null"),
        (LIMIT, {"limitPrice": "90071992547409.92"}, "must be at most 90071992547409.91"),
        (LIMIT, {"amount": None}, "is null"),
        (LIMIT, {"amount": "0"}, "must be greater than zero"),
        (LIMIT, {"amount": "0.0000000001"}, "SOL has 9 decimals; the smallest amount is 0.000000001"),
        (LIMIT | {"limitPrice": "1844.68"}, {"amount": "10000000000"}, "exceeds the maximum of "),
        (LIMIT, {"expiresAt": "2020-01-01T00:00:00Z"}, "must be later than now"),
        (LIMIT, {"maxPrice": "1"}, "does not apply to a limit order"),
        (LIMIT, {"maxPrice": None}, "does not apply to a limit order"),
        (LIMIT, {"trigger": LAUNCH}, "does not apply to a limit order"),
        (LIMIT, {"timeInForce": "gtc"}, "cannot be amended"),
        (LIMIT, {"slippageBps": 1}, "cannot be amended"),
        (LIMIT, {"type": "market"}, "cannot be amended"),
        (LIMIT, {"seq": 1}, "is not a field of an order"),
        (SNIPER, {"limitPrice": "1"}, "does not apply to a sniper order"),
        (SNIPER, {"maxPrice": "1e-19"}, "must have at most 18 decimals"),
        (SNIPER, {"trigger": LAUNCH}, "cannot be amended"),
    ],
)
async def test_an_amendment_is_refused_as_the_order_would_have_been(bench, order, change, message):
    order_id = await placed(order)
    answer = await patch(f"/api/orders/{order_id}", change, 1)
    assert answer.status_code == 400
    field = field_of(answer)
    assert field["field"] == next(iter(change))
    assert field["message"].startswith(message)
    assert field["accepted"]
    assert (await shown(order_id))["seq"] == 1


async def test_each_wrong_field_of_an_amendment_is_named(bench):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", {"limitPrice": "x", "amount": 0, "note": 1}, 1)
    assert {field["field"] for field in error_of(answer)["fields"]} == {"limitPrice", "amount", "note"}


@pytest.mark.parametrize("body", [{}, [], None, "x"])
async def test_an_amendment_of_nothing_is_refused(bench, body):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", body, 1)
    assert answer.status_code == 400
    assert error_of(answer)["message"].endswith("limitPrice, amount, expiresAt, maxPrice")


async def test_an_amendment_that_is_not_json_is_refused(bench):
    order_id = await placed(LIMIT)
    async with http() as client:
        answer = await client.patch(f"/api/orders/{order_id}", content=b"amount=2", headers={"if-match": '"1"'})
    assert answer.status_code == 415


# When a store is away


@pytest.mark.parametrize("reason", [StoreError("gone"), OperationalError("shutting down")])
async def test_with_a_store_away_nothing_is_cancelled_or_amended_and_the_answer_says_so(bench, monkeypatch, reason):
    def away(*_):
        raise reason

    order_id = await placed(LIMIT)
    for name in ("cancel", "cancel_all", "amend"):
        monkeypatch.setattr(waiting, name, away)
    for answer in (
        await delete(f"/api/orders/{order_id}"),
        await delete("/api/orders?pair=SOL-USDC"),
        await patch(f"/api/orders/{order_id}", {"amount": "2"}, 1),
    ):
        assert answer.status_code == 503
        assert error_of(answer)["code"] == "store_unreachable"
