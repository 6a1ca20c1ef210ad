"""Every answer has an id, which the log lines of its request have as well; and a repeat says that it is one."""

import pytest

from config import logs
from orders.access.limits import RateLimited
from orders.api import placing, request_ids, views
from orders.flow import batcher
from tests.orders.doors import LIMIT, ORDER, WITHIN_S, Socket, batch, get, http, post

SANE = "bot-7.retry_3"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/orders/execute", ORDER, 202),
        ("POST", "/api/orders/execute", {}, 400),
        ("POST", "/api/orders/execute?x=1", ORDER, 400),
        ("GET", "/api/pairs", None, 200),
        ("GET", "/api/nothing", None, 404),
        ("PUT", "/api/pairs", None, 405),
        ("GET", "/healthz", None, 200),
        ("POST", "/api/orders/batch", {"orders": ["x" * 70_000]}, 400),
    ],
)
async def test_every_answer_has_the_id_its_client_gave_or_a_new_one(bench, method, path, body, status):
    async with http() as client:
        named = await client.request(method, path, json=body, headers={"x-request-id": SANE})
        made = [(await client.request(method, path, json=body)).headers.get_list("x-request-id") for _ in range(2)]
    assert (named.status_code, named.headers.get_list("x-request-id")) == (status, [SANE])
    assert named.headers.get_list("api-version") == ["1.0.0"]
    (first,), (second,) = made
    assert first != second and request_ids.SANE.fullmatch(first.encode())


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", 'quo"te', "caf\u00e9".encode("latin-1")])
async def test_an_id_that_is_unfit_for_a_log_is_not_repeated(bench, given):
    async with http() as client:
        answer = await client.get("/healthz", headers={"x-request-id": given})
    assert request_ids.SANE.fullmatch(answer.headers["x-request-id"].encode())


async def test_a_socket_has_an_id_too(bench):
    socket = Socket("/ws/orders", [(b"x-request-id", SANE.encode())]).wire
    await socket.send_input({"type": "websocket.connect"})
    accepted = await socket.receive_output(timeout=WITHIN_S)
    assert (b"x-request-id", SANE.encode()) in accepted["headers"]
    assert [value for name, value in accepted["headers"] if name == b"api-version"] == [b"1.0.0"]
    await socket.disconnect(timeout=WITHIN_S)


def test_a_line_logged_for_a_request_names_it():
    token = request_ids.request_id.set(SANE)
    try:
        assert logs.name_request(None, "info", {"event": "x"}) == {"event": "x", "request_id": SANE}
    finally:
        request_ids.request_id.reset(token)
    assert logs.name_request(None, "info", {"event": "x"}) == {"event": "x"}


@pytest.mark.parametrize("path", ["/api/pairs", "/api/orders"])
async def test_what_django_logs_on_its_own_thread_names_the_request(bench, monkeypatch, path):
    seen = []
    monkeypatch.setattr(views, "refuse_unknown", lambda *_: seen.append(request_ids.request_id.get()))
    async with http() as client:
        await client.get(path, headers={"x-request-id": SANE})
    assert seen == [SANE]


async def test_the_line_about_a_group_of_accepted_orders_names_their_requests(bench, monkeypatch):
    told = []
    monkeypatch.setattr(batcher.log, "info", lambda event, **fields: told.append((event, fields)))
    await post(ORDER, **{"x-request-id": SANE})
    await post(ORDER, accept="application/*", **{"x-request-id": "slow"})
    assert [(event, fields["request_ids"]) for event, fields in told] == [
        ("orders accepted", [SANE]),
        ("orders accepted", ["slow"]),
    ]


@pytest.mark.parametrize("accept", ["*/*", "application/*"], ids=["fast", "django"])
async def test_a_repeat_says_that_it_is_one(bench, accept):
    asked = LIMIT | {"limitPrice": "900", "clientOrderId": "once"}
    first, second = await post(asked, accept=accept), await post(asked, accept=accept)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_repeat_past_a_limit_says_that_it_is_one(bench, monkeypatch):
    asked = ORDER | {"clientOrderId": "once"}
    await post(asked)

    async def spend(*_):
        raise RateLimited("no more")

    monkeypatch.setattr(placing.limits, "spend", spend)
    answer = await post(asked)
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (202, "true")
    answer = await post(ORDER)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")


async def test_a_batch_of_which_nothing_is_new_says_that_it_is_a_repeat(bench):
    named = [ORDER | {"clientOrderId": name} for name in ("a", "b")]
    answers = [await batch(*orders) for orders in (named[:1], named, [*named, {}], [{}])]
    assert [one.headers.get("idempotency-replayed") for one in answers] == [None, None, "true", None]


async def test_lists_are_objects_whose_cursors_are_values_and_links(bench):
    for _ in range(3):
        await post(ORDER)
    first = (await get("/api/orders?limit=2")).json()
    assert f"cursor={first['nextCursor']}" in first["next"].replace("%3D", "=") and first["previousCursor"] is None
    async with http() as client:
        second = await client.get("/api/orders", params={"limit": 2, "cursor": first["nextCursor"]})
    assert (len(second.json()["results"]), second.json()["nextCursor"]) == (1, None)
    assert second.json()["previousCursor"]
    assert isinstance((await get("/api/pairs")).json()["results"], list)
