"""The HTTP API: an order placed, found again under its own name, and read."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import structlog

from config import asgi
from engine.lifecycle import Status
from orders import models
from orders.api.http import respond
from orders.stores import live
from orders.stores.ids import first_at
from orders.stores.threads import aside
from routing.catalogue import catalogue
from routing.store import StoreError, redis
from tests.factories import OrderFactory
from tests.orders.bench import STAGES, TOKENS
from tests.orders.doors import ORDER, error_of, field_of, get, post

# Placing


async def test_an_order_is_answered_with_202_and_where_to_go_on(bench):
    answer = await post(ORDER)
    assert answer.status_code == 202
    accepted = answer.json()
    order_id = accepted["orderId"]
    assert set(accepted) == {"orderId", "status", "createdAt", "links"}
    assert accepted["status"] == "pending"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(accepted["createdAt"])) < timedelta(minutes=1)
    assert accepted["links"] == {
        "self": f"http://localhost/api/orders/{order_id}",
        "events": f"http://localhost/api/orders/{order_id}/events",
        "ws": f"ws://localhost/ws/{order_id}",
    }
    assert (await aside(bench.row, order_id)).amount_in == 1_500_000_000
    assert bench.messages("order") == 1


@pytest.mark.parametrize("amount", ['"1.5"', "1.5", '"1.50"', "15e-1", '"1.5e0"', '"+1.5"', '"01.5"'])
async def test_an_amount_may_be_a_string_or_a_number(bench, amount):
    body = json.dumps(ORDER).replace('"1.5"', amount).encode()
    answer = await post(body)
    assert answer.status_code == 202, answer.text
    assert (await aside(bench.row, answer.json()["orderId"])).amount_in == 1_500_000_000


async def test_a_number_is_read_as_it_is_written_and_never_as_a_float(bench):
    answer = await post(b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":9007199254.740993123}')
    assert (await aside(bench.row, answer.json()["orderId"])).amount_in == 9007199254740993123


async def test_tokens_may_be_named_by_mint(bench):
    by_mint = await post(ORDER | {"tokenIn": TOKENS["SOL"].mint, "tokenOut": TOKENS["USDC"].mint})
    assert (await aside(bench.row, by_mint.json()["orderId"])).pair == "SOL-USDC"


async def test_without_slippage_an_order_gets_the_default(bench):
    assert (await aside(bench.row, (await post(ORDER)).json()["orderId"])).slippage_bps == 50


# The same order only once


@pytest.mark.parametrize("header", [False, True])
async def test_the_same_request_under_one_client_order_id_is_one_order(bench, header):
    def again(order):
        return post(order, **{"idempotency-key": "k-1"}) if header else post(order | {"clientOrderId": "k-1"})

    first, second = await again(ORDER), await again(ORDER | {"amount": 1.5, "slippageBps": 50})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert await aside(models.Order.objects.count) == 1
    other = await again(ORDER | {"amount": "1.6"})
    assert other.status_code == 409
    error = error_of(other)
    assert error["code"] == "client_order_id_taken"
    assert first.json()["orderId"] in error["message"]
    assert field_of(other)["field"] == "clientOrderId"


async def test_header_and_body_name_the_same_order(bench):
    first = await post(ORDER | {"clientOrderId": "k-2"})
    second = await post(ORDER, **{"idempotency-key": "k-2"})
    third = await post(ORDER | {"clientOrderId": "k-2"}, **{"idempotency-key": "k-2"})
    assert first.json()["orderId"] == second.json()["orderId"] == third.json()["orderId"]


async def test_a_header_that_contradicts_the_body_is_refused(bench):
    answer = await post(ORDER | {"clientOrderId": "a"}, **{"idempotency-key": "b"})
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "Idempotency-Key"


async def test_a_bad_header_is_named_and_shown_as_it_came(bench):
    answer = await post(ORDER, **{"idempotency-key": "not good"})
    assert answer.status_code == 400
    field = field_of(answer)
    assert (field["field"], field["value"]) == ("Idempotency-Key", "not good")
    assert field["accepted"].startswith("1 to 64 letters")


async def test_fifty_racing_requests_with_one_client_order_id_make_one_order(bench):
    # Half of them by header, which takes the long way in.
    short = [post(ORDER | {"clientOrderId": "race"}) for _ in range(25)]
    long = [post(ORDER, **{"idempotency-key": "race"}) for _ in range(25)]
    answers = await asyncio.gather(*long, *short)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["orderId"] for answer in answers}) == 1
    assert await aside(models.Order.objects.count) == 1


# Reading


async def test_an_order_is_shown_live_before_postgres_knows(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    assert (await aside(bench.row, order_id)).status == "pending"
    shown = (await get(f"/api/orders/{order_id}")).json()
    assert (shown["status"], shown["seq"], shown["attempt"]) == ("confirmed", 5, 1)
    assert (shown["tokenIn"], shown["tokenOut"], shown["amount"]) == ("SOL", "USDC", "1.5")
    assert shown["result"]["executedPrice"] and shown["txHash"] == shown["result"]["txHash"]


async def test_an_order_is_shown_from_postgres_when_redis_is_empty(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    live_order = (await get(f"/api/orders/{order_id}")).json()
    live_events = (await get(f"/api/orders/{order_id}/events")).json()
    await aside(bench.archive)
    redis().flushdb()
    archived_order = (await get(f"/api/orders/{order_id}")).json()
    differing = {"updatedAt"}
    assert {k: v for k, v in archived_order.items() if k not in differing} == {
        k: v for k, v in live_order.items() if k not in differing
    }
    assert datetime.fromisoformat(archived_order["updatedAt"]) == datetime.fromisoformat(live_order["updatedAt"])
    assert (await get(f"/api/orders/{order_id}/events")).json() == live_events
    assert [event["status"] for event in live_events["events"]] == STAGES


async def test_an_order_is_shown_from_postgres_while_redis_is_away(bench, monkeypatch):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    await aside(bench.archive)

    def away(*_):
        raise StoreError("gone")

    monkeypatch.setattr(live, "last_events", away)
    monkeypatch.setattr(live, "statuses", away)
    assert (await get(f"/api/orders/{order_id}")).json()["status"] == "confirmed"
    assert len((await get(f"/api/orders/{order_id}/events")).json()["events"]) == 5


async def test_events_past_a_seq_are_shown(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    for after, seqs in ((0, [1, 2, 3, 4, 5]), (3, [4, 5]), (5, []), (99, [])):
        answer = await get(f"/api/orders/{order_id}/events?after={after}")
        assert [event["seq"] for event in answer.json()["events"]] == seqs


@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "9999999999", "\u0661"])
async def test_a_bad_after_is_refused(bench, after):
    (order_id,) = await aside(bench.place)
    answer = await get(f"/api/orders/{order_id}/events?after={after}")
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "after"


async def test_an_order_id_may_be_spelled_in_capitals_and_is_shown_in_its_one_spelling(bench):
    (order_id,) = await aside(bench.place)
    assert (await get(f"/api/orders/{order_id.upper()}")).json()["orderId"] == order_id
    assert (await get(f"/api/orders/{order_id.upper()}/events")).json()["orderId"] == order_id


def listed(client, **query):
    """Return the ids a list shows."""
    answer = client.get("/api/orders", query)
    assert answer.status_code == 200, answer.content
    return [order["orderId"] for order in answer.json()["results"]]


def test_orders_are_listed_newest_first(bench, client):
    ids = bench.place(3)
    assert listed(client) == sorted(ids, reverse=True)


def test_the_list_is_chosen_by_status_pair_type_and_time(bench, client):
    now = datetime.now(UTC)
    old = str(OrderFactory(status=Status.CONFIRMED, created_at=now - timedelta(days=2)).id)
    failed = str(OrderFactory(status=Status.FAILED, created_at=now - timedelta(days=1)).id)
    other = str(OrderFactory(pair="USDC-SOL", amount_in=5_000_000).id)
    assert listed(client, status="failed") == [failed]
    assert set(listed(client, status=["failed", "confirmed"])) == {failed, old}
    assert listed(client, pair="USDC-SOL") == [other]
    assert len(listed(client, type="market")) == 3
    day = timedelta(hours=36)
    assert listed(client, createdBefore=(now - day).isoformat()) == [old]
    assert set(listed(client, createdAfter=(now - day).isoformat())) == {failed, other}


@pytest.mark.usefixtures("bench")
def test_a_server_whose_clock_is_off_makes_orders_that_are_found_by_the_time_of_their_creation(client):
    now = datetime.now(UTC)
    behind, ahead = (
        str(OrderFactory(id=first_at(int((now + off).timestamp() * 1000)), created_at=now).id)
        for off in (timedelta(minutes=-50), timedelta(minutes=50))
    )
    a_minute = timedelta(minutes=1)
    assert set(listed(client, createdAfter=(now - a_minute).isoformat())) == {behind, ahead}
    assert set(listed(client, createdBefore=(now + a_minute).isoformat())) == {behind, ahead}


def test_pages_are_followed_by_cursor_without_loss_although_orders_arrive(bench, client):
    ids = bench.place(7)
    page = client.get("/api/orders?limit=3").json()
    assert set(page) == {"next", "previous", "nextCursor", "previousCursor", "results"} and page["previous"] is None
    seen = [order["orderId"] for order in page["results"]]
    bench.place(2)
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [order["orderId"] for order in page["results"]]
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "cursor=nonsense",
        "cursor=cD1ub25zZW5zZQ==",
        "status=lost",
        "status=pending&status=lost",
        "type=swap",
        "pair=SOL-DOGE",
        "pair=%00",
        "createdAfter=yesterday",
        "createdBefore=2026-13-01",
        "page=2",
        "offset=5",
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_name(bench, client, query):
    answer = client.get(f"/api/orders?{query}")
    assert answer.status_code == 400
    field = field_of(answer)
    assert field["field"] == query.partition("=")[0]
    assert field["accepted"]


def test_the_list_shows_where_each_order_stands_now(bench, client):
    bench.quote_all()
    ids = bench.place(2)
    bench.run(ids[:1])
    shown = {order["orderId"]: order["status"] for order in client.get("/api/orders").json()["results"]}
    assert shown == {ids[0]: "confirmed", ids[1]: "pending"}


def test_quotes_are_shown_with_their_age_and_best(bench, client):
    bench.quote_all(age_ms=400)
    shown = client.get("/api/quotes/SOL-USDC").json()
    assert {quote["venue"] for quote in shown["quotes"]} == {"RAYDIUM", "METEORA"}
    assert all(400 <= quote["ageMs"] < 5_000 for quote in shown["quotes"])
    assert shown["best"]["venue"] == "METEORA" and shown["fresh"] is True
    assert float(shown["best"]["netPrice"]) == max(float(quote["netPrice"]) for quote in shown["quotes"])


def test_a_pair_without_quotes_has_no_best(bench, client):
    shown = client.get("/api/quotes/SOL-USDC").json()
    assert (shown["best"], shown["fresh"], shown["quotes"]) == (None, False, [])


def test_pairs_are_listed_with_mints_and_decimals(bench, client):
    pairs = client.get("/api/pairs").json()["results"]
    assert [pair["pair"] for pair in pairs] == sorted(catalogue().active)
    sol = next(pair for pair in pairs if pair["pair"] == "SOL-USDC")
    assert sol["tokenIn"] == {"symbol": "SOL", "mint": TOKENS["SOL"].mint, "decimals": 9}
    assert all(Decimal(pair["tick"]) == catalogue().active[pair["pair"]].tick for pair in pairs)


# Logs


async def test_accepted_orders_are_logged_by_id_through_both_doors(bench):
    with structlog.testing.capture_logs() as lines:
        short = (await post(ORDER)).json()["orderId"]
        long = (await post(ORDER, accept="application/*")).json()["orderId"]
    said = {line["order_id"]: line for line in lines if line["event"].startswith("order")}
    for order_id in (short, long):
        line = said[order_id]
        assert (line["event"], line["count"], line["log_level"]) == ("orders accepted", 1, "info")


async def test_a_request_keeps_the_log_context_of_its_process(bench, monkeypatch):
    seen = []

    async def record(*_):
        seen.append(structlog.contextvars.get_contextvars())
        await respond(_[-1], 200, {})

    monkeypatch.setattr(asgi, "django", record)
    with structlog.contextvars.bound_contextvars(worker="api"):
        await get("/healthz")
    assert seen[0]["worker"] == "api"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-01-31T12:00:00+23:59"])
@pytest.mark.usefixtures("bench")
def test_a_time_at_the_edge_of_the_calendar_is_answered_and_never_breaks_the_list(client, at):
    answer = client.get("/api/orders", {"createdAfter": at})
    assert answer.status_code == (200 if at.startswith("2026") else 400), answer.content


async def test_a_whole_number_may_be_written_with_a_point(bench):
    answer = await post(json.dumps(ORDER).encode()[:-1] + b',"slippageBps":50.0}')
    assert answer.status_code == 202
    order = await get(f"/api/orders/{answer.json()['orderId']}")
    assert order.json()["slippageBps"] == 50


def test_options_names_the_methods_and_nothing_of_our_own(client):
    answer = client.options("/api/orders/execute")
    assert answer.json() == {"methods": ["POST", "OPTIONS"], "description": "/api/docs/"}
    assert answer.headers["allow"] == "POST, OPTIONS"
