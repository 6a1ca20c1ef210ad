"""Liveness and readiness, and the API while a store is away."""

import re
import socket
from contextlib import contextmanager

import pytest
import structlog
from django.db import OperationalError, connection

from deploy import role
from orders.flow import dispatch, intake
from orders.operations import condition, figures, heartbeats
from orders.stores import placing
from orders.stores.threads import aside
from routing import store
from routing.store import StoreError, now_ms, redis
from tests.orders.doors import ORDER, error_of, post
from tests.system import eventually


def test_the_process_lives_whatever_its_stores_do(client):
    assert client.get("/healthz").json() == {"status": "ok"}


WELL = {"postgres": "ok", "redis": "ok", "quotes": "ok", "workers": "ok"}


@pytest.fixture
def well(bench):
    """An engine that lacks nothing: both venues quote, and every queue has a worker."""
    bench.quote_all()
    for queue in dispatch.QUEUES:
        heartbeats.beat(queue)
    return bench


def test_readiness_asks_every_part(well, client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "parts": WELL})


@pytest.mark.parametrize(
    ("keys", "part", "said"),
    [
        (["quotes:{SOL-USDC}:METEORA"], "quotes", "METEORA has not quoted for more than 2,000 ms"),
        (
            ["quotes:{SOL-USDC}:METEORA", "quotes:{SOL-USDC}:RAYDIUM"],
            "quotes",
            "RAYDIUM and METEORA have not quoted for more than 2,000 ms",
        ),
        (["workers:alive"], "workers", "no order, limit, sniper, stream, dbsync or dlq worker answers"),
    ],
)
def test_what_orders_can_wait_for_makes_the_server_degraded_and_not_unready(well, client, keys, part, said):
    redis().delete(*keys)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "parts": {**WELL, part: said}})


def test_a_quote_too_old_to_route_on_at_once_is_no_quote(well, client):
    for venue in ("RAYDIUM", "METEORA"):
        well.quote(venue, age_ms=2_500)
    assert (
        client.get("/readyz").json()["parts"]["quotes"] == "RAYDIUM and METEORA have not quoted for more than 2,000 ms"
    )


def test_a_worker_that_lives_and_takes_no_message_is_said_to_hang(well, client, monkeypatch):
    monkeypatch.setattr(condition, "HANGS_MS", 20)
    well.place()
    eventually(lambda: dispatch.ages_ms()["order"] > 20, 10, "the message is old")
    answer = client.get("/readyz").json()
    assert answer["status"] == "degraded"
    assert answer["parts"]["workers"] == "the order worker does not keep up: a message has waited 0 s"


def test_one_frozen_worker_of_several_is_said_to_be(well, client):
    now = now_ms()
    # This process may have begun long ago, in another test.
    redis().delete(heartbeats.ALIVE)
    heartbeats.first.cache_clear()
    for queue in dispatch.QUEUES:
        heartbeats.beat(queue)
    # The one that has begun since has replaced one of them.
    redis().zadd(heartbeats.ALIVE, {f"order a-{one} {now - 90_000}": now - 30_000 for one in (1, 2)})
    answer = client.get("/readyz").json()
    assert answer["status"] == "degraded"
    assert answer["parts"]["workers"] == "1 of 2 order workers does not answer"


@contextmanager
def broken_postgres():
    """Have Postgres refuse what this connection asks."""

    def refuse(*_):
        raise OperationalError("the database is shutting down")

    with connection.execute_wrapper(refuse):
        yield


def test_without_postgres_the_server_is_not_ready_and_without_redis_degraded(bench, client, monkeypatch):
    with broken_postgres():
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["redis"] == "ok" and "shutting down" in answer.json()["parts"]["postgres"]
    assert (
        answer.json()["parts"]["quotes"] == answer.json()["parts"]["workers"] == "unknown while a store is unavailable"
    )
    assert "postgres" in answer.json()["error"]["message"]

    class Away:
        def ping(self):
            raise StoreError("connection refused")

    monkeypatch.setattr(condition.store, "probe", Away)
    answer = client.get("/readyz")
    assert answer.status_code == 200 and answer.json()["status"] == "degraded"
    said = "connection refused; orders are accepted and wait until it is back"
    assert answer.json()["parts"]["postgres"] == "ok" and answer.json()["parts"]["redis"] == said
    (shown,) = [part for part in figures.gather()["parts"] if part["name"] == "redis"]
    assert (shown["state"], shown["said"]) == ("degraded", said), "the dashboard says the same"


SECRETIVE = "10.0.0.7|6379|5432|trader|ledger|hush"


@pytest.mark.parametrize(
    ("part", "problem", "said"),
    [
        ("redis", StoreError("Error 111 connecting to 10.0.0.7:6379. Connection refused."), "connection refused"),
        ("redis", StoreError("invalid username-password pair or user is disabled. hush"), "login refused"),
        ("redis", ConnectionError("10.0.0.7 says something new"), "not available"),
        ("redis", ValueError("hush"), "not available"),
        (
            "postgres",
            OperationalError('connection to server at "10.0.0.7", port 5432 failed: Connection refused'),
            "connection refused",
        ),
        ("postgres", OperationalError('FATAL:  password authentication failed for user "trader"'), "login refused"),
        ("postgres", OperationalError('FATAL:  database "ledger" does not exist'), "database or tables missing"),
        ("postgres", OperationalError("couldn't get a connection after 2.00 sec"), "no answer in time"),
    ],
)
def test_readiness_says_why_a_store_is_away_without_its_address_and_the_log_has_it(
    bench, client, monkeypatch, part, problem, said
):
    def fail():
        raise problem

    monkeypatch.setitem(condition.STORES, part, fail)
    monkeypatch.setattr(condition, "noted", {})
    with structlog.testing.capture_logs() as lines:
        answers = [client.get("/readyz") for _ in range(3)]
    state, meaning = condition.WITHOUT[part]
    for answer in answers:
        assert answer.json()["parts"][part] == f"{said}; {meaning}"
        assert answer.status_code == (503 if state is condition.State.DOWN else 200)
        if state is condition.State.DOWN:
            assert answer.json()["error"]["message"] == f"{part}: {said}; {meaning}"
        assert not re.search(SECRETIVE, answer.content.decode())
    (line,) = [line for line in lines if line["event"] == "not ready"]
    assert line["part"] == part and str(problem) in line["reason"]


def test_a_redis_that_takes_connections_and_never_answers_delays_readiness_by_no_more_than_a_probe_waits(
    bench, client, monkeypatch, settings
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        probe = store.client(answers_s=store.PROBE_S, connects_s=store.PROBE_S)
        monkeypatch.setattr(condition.store, "probe", lambda: probe)
        answer = client.get("/readyz").json()
    assert answer["status"] == "degraded" and answer["parts"]["redis"].startswith(
        "no answer in time; orders are accepted"
    )
    assert 2 * store.PROBE_S < role.ASKED_WITHIN_S, "whoever asks a container must get the answer"


def test_with_postgres_away_reading_says_503_and_why(bench, client):
    with broken_postgres():
        answer = client.get("/api/orders")
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "store_unreachable"


@pytest.mark.parametrize("header", [{}, {"accept": "application/*"}])
async def test_with_postgres_away_placing_says_503_and_why(bench, monkeypatch, header):
    def refuse(_):
        raise OperationalError("the database is shutting down")

    monkeypatch.setattr(intake, "insert", refuse)
    answer = await post(ORDER, **header)
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "store_unreachable"


async def test_with_redis_away_an_order_is_accepted_nevertheless(bench, monkeypatch):
    def away(_):
        raise StoreError("gone")

    monkeypatch.setattr(placing, "place", away)
    answer = await post(ORDER)
    assert answer.status_code == 202
    assert (await aside(bench.row, answer.json()["orderId"])).status == "pending"
