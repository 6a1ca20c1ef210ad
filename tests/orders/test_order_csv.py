"""The list of orders as CSV: everything that the filters choose, exact, harmless, and a page in memory at a time."""

import asyncio
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import OperationalError

from config.asgi import application
from engine.quotes import Pair
from engine.triggers import Condition, Kind
from orders import models
from orders.api import lanes, order_csv
from orders.stores.threads import aside
from tests.keyring import WIRE
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.doors import HOST, MINT, error_of, get, http, until
from tests.orders.doors import placed as place

ADDRESS = "/api/orders?format=csv"


async def rows(path=ADDRESS, **headers):
    """Read the list as a program would."""
    async with http() as client:
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert "Accept" in answer.headers["vary"]
    text = answer.text
    assert text.count("\r\n") == text.count("\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


async def test_an_order_is_a_line_with_its_terms_and_its_outcome(bench):
    await aside(bench.quote_all)
    filled, rests, waits = await aside(
        lambda: bench.accept(
            bench.order(client_order_id="rebalance:1"),
            bench.limit("1000", amount=1),
            bench.snipe(MINT, Condition(Kind.LAUNCH)),
        )
    )
    await aside(bench.run, [filled])
    found = {row["orderId"]: row for row in await rows()}
    assert list(found) == [waits, rests, filled]
    shown = (await get(f"/api/orders/{filled}")).json()
    assert tuple(found[filled]) == order_csv.COLUMNS
    for name in ("clientOrderId", "createdAt", "type", "pair", "tokenIn", "amount", "status", "venue", "txHash"):
        assert found[filled][name] == shown[name], name
    result = shown["result"]
    assert (
        found[filled]["amountOut"] == result["amountOut"] and found[filled]["executedPrice"] == result["executedPrice"]
    )
    assert found[filled]["filledSlippageBps"] == result["slippageBps"] and found[filled]["slippageBps"] == "50"
    assert found[filled]["networkFeeLamports"] == str(result["fees"]["networkFeeLamports"])
    # A lamport, without an exponent.
    assert (found[rests]["amount"], found[rests]["limitPrice"], found[rests]["venue"]) == ("0.000000001", "1000", "")
    assert (found[waits]["type"], found[waits]["tokenOut"]) == ("sniper", MINT)
    assert found[waits]["conditions"] == json.dumps((await get(f"/api/orders/{waits}")).json()["trigger"])


async def test_a_purchase_is_told_as_traders_do_price_and_all(bench):
    await aside(bench.quote_all)
    back = Pair(bench.pair.token_out, bench.pair.token_in)
    await aside(bench.quote_all_of, back)
    asked = bench.order(amount=150_000_000)
    asked = replace(asked, order=replace(asked.order, pair=back))
    sale, purchase = await aside(bench.accept, bench.order(), asked)
    await aside(bench.run, [sale, purchase])
    found = {row["orderId"]: row for row in await rows()}
    sold, bought = found[sale], found[purchase]
    assert {(row["market"], row["side"]) for row in (sold, bought)} == {("SOL-USDC", "sell"), ("SOL-USDC", "buy")}
    assert sold["price"] == sold["executedPrice"]
    exact = Decimal(bought["amountIn"]) / Decimal(bought["amountOut"])
    assert abs(Decimal(bought["price"]) - exact) < Decimal("0.000001") and exact > 1


async def test_accept_chooses_it_too_and_without_either_the_list_is_json(bench):
    (order_id,) = await aside(bench.place)
    assert [row["orderId"] for row in await rows("/api/orders", accept="text/csv")] == [order_id]
    assert [row["orderId"] for row in await rows("/api/orders", accept="text/*")] == [order_id]
    for accept in ("TEXT/CSV", "*/csv", "Text/Csv;q=0.5"):
        assert [row["orderId"] for row in await rows("/api/orders", accept=accept)] == [order_id]
    for path in ("/api/orders", "/api/orders?format=json"):
        assert (await get(path)).json()["results"][0]["orderId"] == order_id


async def test_the_filters_are_those_of_the_list(bench):
    await aside(bench.place, 2)
    (limit,) = await aside(lambda: bench.accept(bench.limit("1000", client_order_id="mine")))
    assert [row["orderId"] for row in await rows(f"{ADDRESS}&type=limit&pair=SOL-USDC&status=pending")] == [limit]
    assert [row["orderId"] for row in await rows(f"{ADDRESS}&clientOrderId=mine")] == [limit]
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert await rows(f"{ADDRESS}&createdAfter={later}") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("format=csv&limit=5", "limit"),
        ("format=csv&cursor=cD0x", "cursor"),
        ("format=csv&type=swap", "type"),
        ("format=xml", "format"),
        ("format=", "format"),
        ("format=csv&format=csv", "format"),
    ],
)
async def test_what_is_wrong_is_refused_as_json_whatever_is_accepted(bench, query, field):
    async with http() as client:
        answer = await client.get(f"/api/orders?{query}", headers={"accept": "text/csv"})
    assert answer.status_code == 400
    assert [one["field"] for one in error_of(answer)["fields"]] == [field]


async def test_the_description_has_no_default_that_a_generated_client_would_send_with_it(bench):
    async with http() as client:
        described = (await client.get("/api/schema", headers={"accept": "application/json"})).json()
    parameters = described["paths"]["/api/orders"]["get"]["parameters"]
    assert [one["name"] for one in parameters if "default" in one["schema"]] == []


async def test_other_methods_have_no_csv(bench):
    async with http() as client:
        head = await client.head(ADDRESS)
        assert (head.status_code, head.content, head.headers["content-type"][:8]) == (200, b"", "text/csv")
        answer = await client.delete("/api/orders?pair=SOL-USDC", headers={"accept": "text/csv"})
        assert (answer.status_code, error_of(answer)["code"]) == (406, "not_acceptable")
        answer = await client.options("/api/orders", headers={"accept": "text/csv"})
        assert answer.json()["methods"]


async def test_each_account_gets_its_own_orders(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        alice, bob = [await aside(lambda name=name: bearer(account(name))) for name in ("alice", "bob")]
        hers = await place({"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"}, **alice)
        assert [row["orderId"] for row in await rows(**alice)] == [hers]
        assert await rows(**bob) == []
        async with http() as client:
            assert (await client.get(ADDRESS, headers={"authorization": "Bearer oek_x_y"})).status_code == 401


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "-mine"])
def test_a_text_is_no_formula(text):
    assert order_csv.cell("clientOrderId", text) == f"'{text}"
    assert order_csv.cell("reason", f"is {text}") == f"is {text}"


@pytest.mark.parametrize(
    ("value", "written"),
    [("1E-9", "0.000000001"), ("-0.86", "-0.86"), ("1E+3", "1000"), ("160.50", "160.5"), (5000, "5000"), (None, "")],
)
def test_a_number_is_written_out(value, written):
    assert order_csv.cell("filledSlippageBps", value) == written


async def test_a_name_that_looks_like_a_formula_is_exported_as_text(bench):
    await aside(bench.place, client_order_id="-1.5")
    async with http() as client:
        assert ",'-1.5," in (await client.get(ADDRESS)).text


class Reader:
    """A client that reads one part at a time, when it is told to."""

    def __init__(self):
        self.parts, self.may = [], asyncio.Semaphore(0)
        self.request = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive(self):
        return self.request.pop() if self.request else await asyncio.Event().wait()

    async def send(self, message):
        if message["type"] == "http.response.body" and message.get("body"):
            self.parts.append(message["body"].decode())
            await self.may.acquire()
        elif message["type"] == "http.response.body":
            self.parts.append(None)

    def begin(self):
        scope = {"type": "http", "method": "GET", "path": "/api/orders", "query_string": b"format=csv"}
        more = {"headers": [*HOST, *WIRE], "scheme": "http", "http_version": "1.1", "root_path": ""}
        return asyncio.create_task(application({**scope, **more}, self.receive, self.send))


@pytest.fixture
async def reader(bench, monkeypatch):
    """A reader of five orders, two a page, and the sizes of the pages that were made."""
    monkeypatch.setattr(order_csv, "PAGE", 2)
    found, real = Reader(), order_csv.page
    found.ids, found.made = await aside(bench.place, 5), []
    monkeypatch.setattr(order_csv, "page", lambda *what: found.made.append(real(*what)) or found.made[-1])
    return found


async def test_the_next_page_is_made_once_the_one_before_is_read(reader):
    serving = reader.begin()
    await until(lambda: reader.parts, "the header is sent")
    assert reader.made == []
    for count in (1, 2, 3):
        reader.may.release()
        await until(lambda: len(reader.parts) == count + 1, "the next page is sent")  # noqa: B023 - called here
        assert [len(page) for page in reader.made] == [2, 2, 1][:count]
    reader.may.release()
    await serving
    assert reader.parts[-1] is None
    found = csv.DictReader(io.StringIO("".join(reader.parts[:-1]), newline=""))
    assert [row["orderId"] for row in found] == sorted(reader.ids, reverse=True)


async def test_orders_that_arrive_meanwhile_move_nothing(reader, bench):
    serving = reader.begin()
    reader.may.release()
    await until(lambda: len(reader.parts) == 2, "the first page is sent")
    await aside(bench.place, 3)
    for _ in range(5):
        reader.may.release()
    await serving
    assert sum(part.count("\r\n") for part in reader.parts[:-1]) == 1 + 5


async def test_a_store_that_goes_away_leaves_the_answer_without_its_end(reader, monkeypatch):
    serving = reader.begin()
    reader.may.release()
    await until(lambda: len(reader.parts) == 2, "the first page is sent")

    def away(*_):
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(order_csv, "page", away)
    reader.may.release()
    with pytest.raises(OperationalError):
        await serving
    assert None not in reader.parts


async def test_an_account_has_one_export_at_a_time(reader):
    serving = reader.begin()
    await until(lambda: reader.parts, "the header is sent")
    again = await get(ADDRESS)
    assert (again.status_code, error_of(again)["code"], again.headers["retry-after"]) == (429, "rate_limited", "5")
    assert (await get("/api/orders")).status_code == 200
    for _ in range(4):
        reader.may.release()
    await serving
    assert len(await rows()) == 5


async def test_another_account_can_export_meanwhile(reader, monkeypatch):
    serving = reader.begin()
    await until(lambda: reader.parts, "the header is sent")
    with rows_of_keys(monkeypatch):
        assert await rows(**await aside(lambda: bearer(account("alice")))) == []
    for _ in range(4):
        reader.may.release()
    await serving


async def test_a_client_that_reads_nothing_for_a_while_is_cut_off_and_can_export_again(reader, monkeypatch):
    monkeypatch.setattr(lanes, "STALL_S", 0.2)
    await reader.begin()
    assert len(reader.parts) == 1 and order_csv.writing == {}
    assert len(lanes.lanes().lanes[lanes.EXPORT].free) == lanes.EXPORT.threads
    monkeypatch.undo()
    assert len(await rows()) == 5


async def test_a_client_that_reads_too_slowly_is_cut_off_and_keeps_no_thread(reader, monkeypatch):
    monkeypatch.setattr(lanes, "STREAM_S", 0.2)
    await reader.begin()
    assert len(reader.parts) == 1
    assert len(lanes.lanes().lanes[lanes.EXPORT].free) == lanes.EXPORT.threads
    assert await aside(models.Order.objects.count) == 5
