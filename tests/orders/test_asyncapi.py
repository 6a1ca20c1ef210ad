"""The description of the sockets: it is AsyncAPI, its page stands by itself, and what the sockets say fits it."""

import asyncio
import gzip
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, FormatChecker

from engine.triggers import Condition, Kind
from orders.client.events import KINDS, event_of
from orders.flow import limits, waiting
from orders.sockets import asyncapi, ticker
from orders.sockets.feeds import BAD_MAX
from orders.stores.threads import aside
from routing.catalogue import catalogue
from routing.store import now_ms
from routing.venues import VENUES
from tests.orders.doors import ORDER, opened
from tests.orders.sniping import Market, list_token, new_mint

META = Path(__file__).parent / "asyncapi/3.0.0.json.gz"
UNKNOWN = "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"


@pytest.fixture(scope="module")
def document():
    """The description as it is served, by way of JSON."""
    return json.loads(json.dumps(asyncapi.document("localhost:8000", secure=False)))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ticker, "EVERY_S", 0.01)


def closed(schema):
    """Refuse what is not described: a client may meet newer fields, but the description must know all there are now."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(inner) for name, inner in schema.items()}
    return (
        {"additionalProperties": False, **found} if "properties" in found and found.get("type") == "object" else found
    )


def fitting(document, channel, message, action="send"):
    """Name the messages, of those the engine sends or receives at an address, whose schema a message fits."""
    components = {"schemas": closed(document["components"]["schemas"])}
    names = [
        one["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
        if operation["action"] == action and operation["channel"]["$ref"] == f"#/channels/{channel}"
        for one in operation["messages"]
    ]
    payloads = {name: document["components"]["messages"][name]["payload"] for name in names}
    return [
        name
        for name, payload in payloads.items()
        if Draft7Validator({"allOf": [payload], "components": components}, format_checker=FormatChecker()).is_valid(
            message
        )
    ]


def kinds(document, channel, messages):
    """Name the one message each of these is."""
    found = [(fitting(document, channel, message), message) for message in messages]
    assert all(len(names) == 1 for names, _ in found), [one for one in found if len(one[0]) != 1]
    return [names[0] for names, _ in found]


def test_it_is_an_asyncapi_document(document):
    validator = Draft7Validator(json.loads(gzip.decompress(META.read_bytes())))
    assert [error.message for error in validator.iter_errors(document)] == []
    assert not validator.is_valid({**document, "operations": {"send": {"action": "shout"}}})
    assert {one["address"] for one in document["channels"].values()} == {
        "/ws/{orderId}",
        "/api/orders/execute",
        "/ws/orders",
        "/ws/quotes/{pair}",
    }


def test_every_reference_leads_somewhere(document):
    for ref in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        found = document
        for name in ref.split("/"):
            found = found[name]


def test_every_example_is_the_message_it_is_an_example_of(document):
    for channel in document["channels"]:
        for name in document["channels"][channel]["messages"]:
            (example,) = document["components"]["messages"][name]["examples"]
            heard = [n for way in ("send", "receive") for n in fitting(document, channel, example["payload"], way)]
            assert heard == [name], (channel, name)


def test_a_schema_is_the_one_that_http_is_described_with(document, client):
    answer = client.get("/api/schema", headers={"accept": "application/vnd.oai.openapi+json"}).json()
    described = answer["components"]["schemas"]
    shared = set(described) & set(document["components"]["schemas"])
    assert {"Error", "NewOrder", "PendingEvent", "ConfirmedEvent", "PriceSeen"} <= shared
    assert all(asyncapi.in_asyncapi(described[name]) == document["components"]["schemas"][name] for name in shared)
    one_of = described["Event"]["oneOf"]
    assert [one["$ref"].rpartition("/")[2] for one in one_of] == [
        document["components"]["messages"][name]["payload"]["$ref"].rpartition("/")[2] for name in KINDS
    ]
    assert "/api/docs/ws/" in answer["info"]["description"]


async def heard(address, *said):
    """Return what a socket says until it closes, and how it closed."""
    async with opened(address) as socket:
        for message in said:
            await socket.send(message)
        return await socket.rest()


def filled(bench):
    (order_id,) = bench.place()
    bench.run([order_id])
    return order_id


def amended_and_cancelled(bench):
    order_id, *_ = bench.accept(bench.limit("1000", expires_at=now_ms() + 60_000))
    waiting.amend(order_id, 1, {"expires_at": None, "limit_price": 1001})
    waiting.cancel(order_id)
    return order_id


def returned_and_cancelled(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    both_quote(bench, "150.10")
    limits.check()
    both_quote(bench, "149")
    bench.carry([order_id])
    waiting.cancel(order_id)
    return order_id


def both_quote(bench, price):
    for venue in VENUES:
        bench.price(price, venue=venue)


def fired_and_filled(bench):
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    bench.run([order_id])
    return order_id


def expired(bench):
    (order_id,) = bench.accept(bench.limit("1000", expires_at=now_ms() + 50))
    while now_ms() <= waiting.live.standing([order_id])[order_id].order.expires_at:
        pass
    waiting.expire()
    return order_id


def tried_in_vain(bench):
    (order_id,) = bench.place()
    for _ in range(3):
        bench.run([order_id])
        bench.pass_time(order_id, 60_000)
    return order_id


def sniped(bench):
    mint = new_mint()
    conditions = Condition(Kind.LIQUIDITY, 1_000_000), Condition(Kind.VOLUME, 10_000, 60_000)
    (order_id,) = bench.accept(bench.snipe(mint, *conditions))
    list_token(mint)
    market = Market(mint)
    market.pool(50_000)
    market.trade(500)
    bench.quote_all_of(catalogue().pair(f"SOL-{mint}"))
    bench.run([order_id])
    return order_id


def refused_by_a_token_check(bench):
    mint = new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, Condition(Kind.LAUNCH)))
    list_token(mint, mint_authority=None, top_holder_bps=None)
    Market(mint).pool()
    return order_id


EXECUTED = ["routing", "building", "submitted", "confirmed"]
TRY = ["routing", "building", "submitted"]
LIVES = {
    filled: ["pending", *EXECUTED],
    amended_and_cancelled: ["pending", "amended", "cancelled"],
    returned_and_cancelled: ["pending", "triggered", "returned", "cancelled"],
    fired_and_filled: ["pending", "triggered", *EXECUTED],
    expired: ["pending", "expired"],
    tried_in_vain: ["pending", *TRY, "retry", *TRY, "retry", *TRY, "failed"],
    sniped: ["pending", "triggered", *EXECUTED],
    refused_by_a_token_check: ["pending", "triggered", "failed"],
}


@pytest.mark.parametrize("live", LIVES, ids=lambda live: live.__name__)
async def test_every_event_of_every_life_is_described_on_both_sockets_and_typed_by_the_client(
    live, bench, settings, document
):
    settings.MOCK_REJECT_RATE = 1.0 if live is tried_in_vain else 0.0
    await aside(bench.quote_all)
    order_id = await aside(live, bench)
    events, code = await heard(f"/ws/{order_id}")
    assert kinds(document, "orderEvents", events) == LIVES[live]
    assert str(code) in document["channels"]["orderEvents"]["x-close-codes"]
    async with opened("/ws/orders") as socket:
        await socket.send({"follow": [{"orderId": order_id, "after": 0}]})
        told = [await socket.event() for _ in range(len(events) + 1)]
    assert sorted(kinds(document, "orders", told)) == sorted(["following", *LIVES[live]])
    typed = [event_of(event) for event in events]
    assert [type(event) for event in typed] == [KINDS[name] for name in LIVES[live]]
    assert [event.facts for event in typed] == [{}] * len(events)


def test_every_kind_of_event_is_seen_in_these_lives():
    assert {name for life in LIVES.values() for name in life} == set(KINDS)


async def test_an_event_that_is_wrong_in_one_fact_is_not_what_is_described(bench, document):
    await aside(bench.quote_all)
    order_id = await aside(filled, bench)
    events, _ = await heard(f"/ws/{order_id}")
    for event in events:
        assert fitting(document, "orderEvents", event)
        for name, value in event.items():
            lacking = {other: fact for other, fact in event.items() if other != name}
            # A limit order's first event has none.
            assert name == "deadline" or not fitting(document, "orderEvents", lacking), (event["status"], name)
            spoiled = {**event, name: [value]} if not isinstance(value, list) else {**event, name: "none"}
            assert not fitting(document, "orderEvents", spoiled), (event["status"], name)
        assert not fitting(document, "orderEvents", {**event, "surprise": 1})


@pytest.mark.parametrize(
    ("channel", "address", "said", "code"),
    [
        ("orderEvents", f"/ws/{UNKNOWN}", [], 4404),
        ("orderEvents", f"/ws/{UNKNOWN}?after=x", [], 4400),
        ("placeAndStream", "/api/orders/execute", [{"type": "swap"}], 4400),
        ("orders", "/ws/orders", [{"follow": 1}] * BAD_MAX, 4400),
        ("quotes", "/ws/quotes/SOL-DOGE", [], 4404),
    ],
)
async def test_every_refusal_is_described_with_its_close_code(channel, address, said, code, bench, document):
    messages, closed_with = await heard(address, *said)
    assert set(kinds(document, channel, messages)) == {"error"}
    assert closed_with == code
    assert str(code) in document["channels"][channel]["x-close-codes"]


async def test_an_order_may_be_placed_as_described(bench, document):
    await aside(bench.quote_all)
    assert fitting(document, "placeAndStream", ORDER, "receive") == ["order"]
    async with opened("/api/orders/execute") as socket:
        await socket.send(ORDER)
        first = await socket.event()
        await socket.send(ORDER)
        second = await socket.event()
    assert kinds(document, "placeAndStream", [first, second]) == ["pending", "error"]


async def test_orders_are_followed_as_described(bench, document):
    (order_id,) = await aside(bench.place)
    ask = {"follow": [{"orderId": order_id}, {"orderId": UNKNOWN, "after": 3}], "unfollow": [UNKNOWN]}
    for wrong in ({"follow": [{}]}, {"follow": [{"orderId": order_id, "after": -1}]}, {"fallow": []}):
        assert fitting(document, "orders", wrong, "receive") == []
    assert fitting(document, "orders", ask, "receive") == ["follow"]
    async with opened("/ws/orders") as socket:
        await socket.send(ask)
        told = [await socket.event() for _ in range(3)]
    assert sorted(kinds(document, "orders", told)) == ["error", "following", "pending"]


async def test_a_pairs_market_is_told_as_described(bench, document):
    async with opened("/ws/quotes/USDC-SOL") as socket:
        assert kinds(document, "quotes", [await socket.event()]) == ["snapshot"]
    await aside(bench.quote_all)
    await aside(bench.accept, bench.limit("1000"))
    await aside(filled, bench)
    async with opened("/ws/quotes/SOL-USDC") as socket:
        told = [await socket.event()]
        await aside(bench.price, "100", venue="RAYDIUM")
        await aside(bench.accept, bench.limit("1001"))
        await aside(filled, bench)
        async with asyncio.timeout(30):
            while not {"levels", "fills"} <= {name for message in told[1:] for name in message}:
                told.append(await socket.event())
    first, *rest = kinds(document, "quotes", told)
    assert (first, set(rest)) == ("snapshot", {"update"})
    assert told[0]["levels"] and told[0]["fills"]
    assert not fitting(document, "quotes", {**told[0], "best": {**told[0]["best"], "price": 155}})


def test_it_is_served_for_the_host_that_was_asked(client):
    answer = client.get("/api/asyncapi", headers={"host": "127.0.0.1:8000"})
    assert answer["content-type"] == "application/json"
    assert answer.json()["servers"]["engine"]["host"] == "127.0.0.1:8000"
    assert answer.json()["asyncapi"] == "3.0.0"


def test_the_page_shows_all_of_it_and_needs_nothing_from_elsewhere(client, document):
    answer = client.get("/api/docs/ws/")
    html = answer.content.decode()
    policy = answer["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"<script|\bstyle=|<style|\bon\w+=", html)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", html)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
        assert client.get(asset).status_code == 200, asset
    for channel in document["channels"].values():
        assert f"<code>ws://testserver{channel['address']}</code>" in html
    for name in document["components"]["messages"]:
        assert f'id="message-{name}"' in html
    for field in (
        "executedPrice",
        "fees.venueFee",
        "quotes[].netPrice",
        "trigger.observedAt",
        "error.fields[].accepted",
    ):
        assert f"<code>{field}</code>" in html
    links = set(re.findall(r'href="(/api/[^"]+)"', html))
    assert {"/api/docs/", "/api/asyncapi"} <= links
    assert all(client.get(link).status_code == 200 for link in links)
