"""Orders found by the names their clients gave them."""

from uuid import UUID

import httpx
import pytest

from config.asgi import application
from orders import models
from orders.access.callers import Scope
from orders.operations import retention
from orders.stores.threads import aside
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.doors import LIMIT

NAME = "rebalance:2026-11-28"
ASKED = LIMIT | {"limitPrice": "900", "clientOrderId": NAME}


@pytest.fixture(autouse=True)
def keys_in_rows(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        yield


async def ask(method, path, header, **more):
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=header) as client:
        return await client.request(method, path, **more)


async def person(name, *scopes):
    owner = await aside(account, name)
    return await aside(bearer, owner, scopes) if scopes else await aside(bearer, owner)


async def placed(header, asked=ASKED):
    return (await ask("POST", "/api/orders/execute", header, json=asked)).json()["orderId"]


async def by_name(header, name=NAME):
    return await ask("GET", f"/api/orders/by-client-id/{name}", header)


async def test_a_name_finds_ones_own_order_and_nobody_elses():
    alice, bob, carol = await person("alice"), await person("bob"), await person("carol", *Scope)
    hers, his = await placed(alice), await placed(bob, ASKED | {"amount": "7"})
    for header, order_id in ((alice, hers), (bob, his)):
        found = await by_name(header)
        assert (found.status_code, found.json()["orderId"], found.headers["etag"]) == (200, order_id, '"1"')
        assert found.json() == (await ask("GET", f"/api/orders/{order_id}", header)).json()
        listed = await ask("GET", f"/api/orders?clientOrderId={NAME}", header)
        assert [one["orderId"] for one in listed.json()["results"]] == [order_id]
    assert (await by_name(carol)).status_code == 404, "an operator has names of its own, too"
    assert (await ask("GET", "/api/orders?clientOrderId=other", alice)).json()["results"] == []


async def test_a_name_finds_an_archived_order(bench):
    alice, bob = await person("alice"), await person("bob")
    order_id = await placed(alice)

    def retire():
        models.Order.objects.update(status="cancelled", updated_at="2020-01-01T00:00:00Z")
        retention.take([UUID(order_id)])

    await aside(retire)
    found = await by_name(alice)
    assert (found.json()["orderId"], found.json()["status"]) == (order_id, "cancelled")
    assert (await by_name(bob)).status_code == 404


@pytest.mark.parametrize("archived", [False, True], ids=["hot", "archived"])
async def test_an_order_older_than_accounts_is_found_by_operators_alone(archived):
    alice, operator = await person("alice"), await person("carol", *Scope)
    order_id = await placed(alice)

    def make_old():
        models.Order.objects.update(owner=None, status="cancelled", updated_at="2020-01-01T00:00:00Z")
        if archived:
            retention.take([UUID(order_id)])

    await aside(make_old)
    assert (await by_name(alice)).status_code == 404
    assert (await by_name(operator)).json()["orderId"] == order_id


@pytest.mark.parametrize("name", ["never-used", "%00", "by client", "%F0%9F%92%A9", "x" * 65])
async def test_a_name_of_no_order_is_not_found(name):
    answer = await by_name(await person("alice"), name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["a b", "x" * 65, "%F0%9F%92%A9"])
async def test_what_can_be_no_name_is_refused_as_a_filter(name):
    answer = await ask("GET", f"/api/orders?clientOrderId={name}", await person("alice"))
    assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (400, "clientOrderId")
