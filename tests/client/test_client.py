"""The client against the real engine over real connections that break: nothing is missing, and nothing comes twice."""

import asyncio
import subprocess
import sys
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from config.asgi import application
from config.env import ROOT
from orders import models
from orders.client import (
    Amended,
    AnswerLost,
    Backoff,
    Candle,
    Client,
    Confirmed,
    LimitOrder,
    MarketOrder,
    Pending,
    Refused,
    SniperOrder,
    Unfinished,
    Unreachable,
    launch,
    liquidity,
    volume,
)
from orders.client import client as client_module
from orders.flow import limits
from orders.stores.threads import aside
from routing.candles import Candle as RecordedCandle
from routing.candles import add
from routing.catalogue import catalogue
from routing.store import now_ms
from tests.client.misbehaving import LOSE, bound, served
from tests.orders.doors import until

SELL = MarketOrder(token_in="SOL", token_out="USDC", amount=Decimal("1.5"))
REST = LimitOrder(token_in="SOL", token_out="USDC", amount=2, limit_price=Decimal("1000"))
WITHIN_S = 30.0
"""A test that does not end fails instead."""
STAGES = ["pending", "routing", "building", "submitted", "confirmed"]


@pytest.fixture
async def market(bench):
    await aside(bench.quote_all)
    return bench


async def executed(client, bench, order=SELL):
    """Execute an order, and have the workers take it up at its first event."""
    events = []
    async for event in client.execute(order, within_s=WITHIN_S):
        events.append(event)
        if event.seq == 1:
            await aside(bench.run, [event.order_id])
    return events


def check(events, first=1):
    """Hold that these are the rest of a confirmed order's events, each once."""
    assert [event.seq for event in events] == list(range(first, 6))
    assert [event.status for event in events] == STAGES[first - 1 :]


async def in_postgres():
    """Count the orders there are."""
    return await aside(models.Order.objects.count)


async def test_an_order_is_placed_and_followed_to_its_end_in_typed_events(client, market):
    events = await executed(client, market)
    check(events)
    first, *_, last = events
    assert isinstance(first, Pending)
    assert (first.amount_in, first.pair, first.slippage_bps) == (Decimal("1.5"), "SOL-USDC", 50)
    assert isinstance(last, Confirmed)
    assert last.final and not first.final
    assert isinstance(last.executed_price, Decimal) and last.amount_out == pytest.approx(last.executed_price * 3 / 2)
    assert abs(datetime.now(UTC) - last.at) < timedelta(minutes=1)
    assert [event.raw for event in events] == market.events(first.order_id)


async def test_a_socket_that_breaks_over_and_over_is_taken_up_where_it_broke(client, way, market):
    way.sockets.extend([(1, None), (0, None), (2, 1013), (1, 1012), (0, 1011)])
    (order_id,) = await aside(market.place)
    await aside(market.run, [order_id])
    check([event async for event in client.follow(order_id, within_s=WITHIN_S)])
    told = [address.partition("?after=")[2].partition("&epoch=") for address in way.opened]
    assert [after for after, _, _ in told] == ["", "1", "1", "3", "4", "4"]
    assert all(epoch.isdigit() for after, _, epoch in told if after)


async def test_a_socket_that_breaks_while_the_order_executes_costs_no_event(client, way, market):
    way.sockets.extend([(1, None), (1, None), (1, None), (1, 1013)])
    check(await executed(client, market))
    assert await in_postgres() == 1


async def test_following_goes_on_after_an_event(client, market):
    (order_id,) = await aside(market.place)
    await aside(market.run, [order_id])
    check([event async for event in client.follow(order_id, after=3, within_s=WITHIN_S)], 4)


async def test_an_order_whose_answer_was_lost_is_sent_again_and_is_one_order(client, way, market):
    way.posts.extend([LOSE, LOSE])
    check(await executed(client, market))
    names = {body["clientOrderId"] for body in way.posted}
    assert (len(way.posted), len(names), await in_postgres()) == (3, 1, 1)


async def test_an_engine_that_cannot_take_the_order_now_is_asked_again(client, way, market):
    way.posts.extend([(503, "store_unreachable"), (503, "overloaded")])
    placed = await client.place(SELL)
    assert placed.status == "pending"
    assert (len(way.posted), await in_postgres()) == (3, 1)


async def test_a_pause_is_told_at_once_and_not_asked_again(client, way, market):
    way.posts.extend([(503, "paused")])
    with pytest.raises(Refused) as refusal:
        await client.place(SELL)
    assert (refusal.value.code, refusal.value.status) == ("paused", 503)
    assert (len(way.posted), await in_postgres()) == (1, 0)


async def test_what_is_wrong_is_refused_with_its_fields_and_sent_once(client, way, market):
    with pytest.raises(Refused) as refusal:
        await client.place(MarketOrder(token_in="SOL", token_out="USDC", amount=Decimal("-1")))
    reason = refusal.value
    assert (reason.code, reason.status, len(way.posted)) == ("invalid", 400, 1)
    (field,) = reason.fields
    assert (field.field, field.value) == ("amount", "-1")
    assert "decimal above 0" in field.accepted and "decimal above 0" in str(reason)


async def test_a_name_that_is_taken_by_another_order_is_refused(client, market):
    named = MarketOrder(token_in="SOL", token_out="USDC", amount=1, client_order_id="mine-1")
    first, again = await client.place(named), await client.place(named)
    assert first.order_id == again.order_id
    with pytest.raises(Refused) as refusal:
        await client.place(MarketOrder(token_in="SOL", token_out="USDC", amount=2, client_order_id="mine-1"))
    assert (refusal.value.code, refusal.value.status) == ("client_order_id_taken", 409)


async def test_two_orders_that_are_alike_are_two_orders(client, market):
    first, second = await client.place(SELL), await client.place(SELL)
    assert first.order_id != second.order_id


async def test_an_engine_that_is_not_there_yet_is_waited_for(bench):
    taken, url = bound()
    tries = []

    def chance():
        tries.append(1)
        return 0.0

    async with Client(url, backoff=Backoff(0.01, 0.05, chance)) as client:
        placing = asyncio.create_task(client.place(SELL))
        await until(lambda: tries, "the client has tried in vain")
        async with served(application, taken):
            placed = await placing
    assert (await in_postgres(), placed.status) == (1, "pending")


async def test_patience_ends_and_says_why():
    taken, url = bound()
    async with Client(url, patience_s=0) as client:
        with pytest.raises(Unreachable, match="connect"):
            await client.place(SELL)
    taken.close()


async def test_a_lost_answer_without_patience_is_told_as_that(way, market):
    way.posts.append(LOSE)
    async with Client(way.url, patience_s=0) as client:
        with pytest.raises(AnswerLost):
            await client.place(SELL)
    assert await in_postgres() == 1


async def test_time_that_runs_out_is_told_with_the_last_trouble(client, way, market):
    (order_id,) = await aside(market.place)
    with pytest.raises(Unfinished) as quiet:
        [event async for event in client.follow(order_id, after=1, within_s=3.0)]
    assert str(quiet.value) == ""
    way.sockets.extend([(0, 1013)] * 1_000)
    with pytest.raises(Unfinished, match="store_unreachable"):
        [event async for event in client.follow(order_id, within_s=2.0)]


async def test_an_unknown_order_is_refused_and_not_asked_for_again(client, way, bench):
    unknown = "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"
    with pytest.raises(Refused) as refusal:
        [event async for event in client.follow(unknown, within_s=WITHIN_S)]
    assert (refusal.value.code, refusal.value.status, len(way.opened)) == ("not_found", 404, 1)
    with pytest.raises(Refused) as refusal:
        await client.order(unknown)
    assert (refusal.value.code, refusal.value.status) == ("not_found", 404)


async def test_an_order_is_shown_amended_and_cancelled(client, market):
    placed = await client.place(REST)
    order = await client.order(placed)
    assert (order.limit_price, order.amount, order.waits, order.final) == (Decimal(1000), Decimal(2), True, False)
    assert order.resting.away_bps > 0
    changed = await client.amend(
        order, limit_price=Decimal("1001.50"), expires_at=datetime.now(UTC) + timedelta(hours=1)
    )
    assert (changed.limit_price, changed.seq, changed.time_in_force) == (Decimal("1001.5"), 2, "gtd")
    with pytest.raises(Refused) as overtaken:
        await client.amend(order, limit_price=999)
    assert (overtaken.value.code, overtaken.value.status) == ("changed", 412)
    assert (await client.amend(changed, expires_at=None)).expires_at is None
    assert (await client.cancel(placed)).status == "cancelled"
    with pytest.raises(Refused) as late:
        await client.cancel(placed)
    assert (late.value.code, late.value.status) == ("not_resting", 409)
    first, amended, *_, last = (await client.events(placed)).events
    assert isinstance(amended, Amended)
    assert (amended.amended["limitPrice"].from_, amended.amended["limitPrice"].to) == ("1000", "1001.5")
    assert (first.seq, last.status) == (1, "cancelled")
    assert (await client.events(placed, after=3)).events == (last,)


async def test_an_amendment_must_know_what_it_amends(client, market):
    placed = await client.place(REST)
    with pytest.raises(TypeError, match="seq"):
        await client.amend(placed, limit_price=999)
    assert (await client.amend(placed.order_id, 1, limit_price="999")).limit_price == 999


async def test_all_orders_of_a_pair_are_listed_over_pages_and_cancelled(client, market, monkeypatch):
    monkeypatch.setattr(client_module, "PAGE_MAX", 2)
    ids = [(await client.place(REST)).order_id for _ in range(5)]
    await client.place(SELL)
    await aside(market.archive)
    listed = [order async for order in client.orders(status=["pending", "triggered"], type="limit", pair="SOL-USDC")]
    assert [order.order_id for order in listed] == ids[::-1]
    late = client.orders(created_after=datetime.now(UTC) + timedelta(hours=1))
    assert [order async for order in late] == []
    done = await client.cancel_all("SOL-USDC", "limit")
    assert (done.cancelled, done.lost, done.complete) == (5, 0, True)


async def test_an_estimate_and_the_pairs_are_typed(client, market):
    estimate = await client.estimate(REST)
    assert estimate.problem is None
    assert estimate.fill.minimum_out == 2_000 and estimate.limit.away_bps > 0
    assert {offer.venue for offer in estimate.fill.quotes} == {"RAYDIUM", "METEORA"}
    sniper = await client.estimate(
        SniperOrder(token_in="SOL", token_out="USDC", amount=1, trigger=(liquidity(50_000), volume("10000", 60)))
    )
    assert [one.kind for one in sniper.sniper.conditions] == ["liquidity", "volume"]
    pairs = {one.pair: one for one in await client.pairs()}
    assert pairs["SOL-USDC"].token_in.decimals == 9
    assert pairs["SOL-USDC"].tick == catalogue().active["SOL-USDC"].tick


async def test_balances_and_positions_are_read_and_another_users_are_refused(client, bench, market):
    await executed(client, market)
    sold = {one.token: one for one in await client.balances()}["SOL"]
    assert sold.total > sold.available - 1 and sold.reserved == 0 and sold.value > 0
    (position,) = await client.positions()
    assert (position.token, position.quote_token, position.amount, position.average_cost) == ("SOL", "USDC", 0, None)
    assert position.sold == position.uncosted > 0 and position.received > 0 and position.fees > 0
    assert position.realised == 0 and position.price is not None
    for ask in (client.balances, client.positions):
        with pytest.raises(Refused) as refused:
            await ask("nobody")
        assert refused.value.status in (403, 404)


async def test_recorded_prices_are_read_as_candles(client, bench):
    second, prices = now_ms() // 1000 - 90, [Decimal(price) for price in ("150.5", "152", "149.25", "151")]
    await aside(add, [RecordedCandle("SOL-USDC", "METEORA", second, *prices, 3, 0, 900)])
    at = datetime.fromtimestamp(second, UTC)
    found = await client.candles("SOL-USDC", "1s", venue="METEORA", since=at, to=at + timedelta(seconds=1))
    assert (found.pair, found.venue, found.interval) == ("SOL-USDC", "METEORA", "1s")
    assert found.candles == (Candle(at=at, open=prices[0], high=prices[1], low=prices[2], close=prices[3], quotes=3),)
    assert (await client.candles("SOL-USDC", "1s", venue="METEORA", to=at)).candles == ()
    with pytest.raises(Refused) as refused:
        await client.candles("SOL-USDC", "5m")
    assert [field.field for field in refused.value.fields] == ["interval"]


async def test_a_sniper_order_is_placed_as_it_was_asked(client, way, bench):
    order = SniperOrder(token_in="SOL", token_out="7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs", amount="0.5",
                        trigger=launch(), max_price=Decimal("1E-7"), allow_unknown=True)  # fmt: skip
    placed = await client.place(order)
    (body,) = way.posted
    assert (body["trigger"], body["maxPrice"], body["allowUnknown"]) == ({"kind": "launch"}, "0.0000001", True)
    standing = await client.order(placed)
    assert (standing.trigger[0].kind, standing.max_price) == ("launch", Decimal("1E-7"))


async def test_quotes_go_on_over_a_broken_socket_and_levels_stay_known(client, way, market):
    await client.place(REST)
    way.sockets.append((1, None))
    seen = []
    async with aclosing(client.quotes("SOL-USDC", within_s=WITHIN_S)) as quotes:
        async for moment in quotes:
            seen.append(moment)
            await aside(market.quote_all)
            if len(seen) == 3:
                break
    assert len(way.opened) == 2
    assert {quote.venue for quote in seen[-1].quotes} == {"RAYDIUM", "METEORA"}
    assert all(one.best.net_price == max(quote.net_price for quote in one.quotes) for one in seen)
    assert [[(level.price, level.orders) for level in one.levels] for one in seen] == [[(Decimal(1000), 1)]] * 3


async def test_quotes_of_an_unknown_pair_are_refused(client, bench):
    with pytest.raises(Refused) as refusal:
        [one async for one in client.quotes("SOL-DOGE", within_s=WITHIN_S)]
    assert (refusal.value.code, refusal.value.status) == ("not_found", 404)


@pytest.mark.parametrize(
    ("order", "advice"),
    [
        (MarketOrder(token_in="SOL", token_out="USDC", amount=1.5), "Decimal"),
        (LimitOrder(token_in="SOL", token_out="USDC", amount=1, limit_price=1, expires_at=datetime(2030, 1, 1)), "UTC"),
    ],
)
async def test_a_float_and_a_time_without_offset_are_refused_with_advice(client, order, advice):
    with pytest.raises(TypeError, match=advice):
        await client.place(order)


async def test_a_client_that_was_not_entered_says_how_to(bench):
    with pytest.raises(RuntimeError, match="async with"):
        await Client().pairs()


async def test_an_order_rests_fires_and_is_told_on_which_price(client, market):
    order = LimitOrder(token_in="SOL", token_out="USDC", amount=1, limit_price="100")
    told = []
    async for event in client.execute(order, within_s=WITHIN_S):
        told.append(event)
        if event.seq == 1:
            await aside(limits.check)
            await aside(market.run, [event.order_id])
    assert [event.status for event in told] == ["pending", "triggered", *STAGES[1:]]
    trigger = told[1].trigger
    assert (trigger.limit_price, trigger.polls) == (100, 1) and trigger.price > 100
    assert told[-1].executed_price > 100


def test_nothing_of_the_server_is_loaded_with_the_client():
    code = "import sys, orders.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "orders.client.client" in loaded
    ours = {name for name in loaded if name.split(".")[0] in ("orders", "routing", "workers", "config", "deploy")}
    assert {name for name in ours if not name.startswith("orders.client")} == {"orders"}
    assert not {"django", "rest_framework", "channels", "celery", "redis", "psycopg"} & set(loaded)
