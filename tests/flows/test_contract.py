"""What the running server answers is what it has published, whatever it is sent."""

import json
import socket

import httpx
import pytest

from tests.load import contract
from tests.system import eventually, system

pytestmark = pytest.mark.system

CASES = [1_500, pytest.param(5_000, marks=pytest.mark.long)]
SEED = 20_261_122
WITHOUT_INPUT = {"GET /healthz", "GET /readyz"}
"""Operations of which only the method can be wrong: they take neither input nor a key."""
WITHIN_S = 10.0
ORDER = b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":"1.5"}'
JSON = b"Content-Type: application/json\r\n"
NO_ORDER = b"/api/orders/01a20491-4561-78b3-ab49-e00288d86960"


@pytest.fixture(scope="module")
def engine():
    with system(contract.SETTINGS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 30, "the first quotes")
        yield running


@pytest.mark.parametrize("cases", CASES)
def test_no_generated_request_gets_an_answer_outside_the_description(engine, cases):
    tally = contract.run(engine.url, engine.headers, cases, SEED)
    assert not tally.wrong, f"{len(tally.wrong)} of {tally.cases}, seed {SEED}:\n\n" + "\n\n".join(tally.wrong[:10])
    assert tally.cases >= cases
    assert set(tally.accepted) == tally.operations
    assert set(tally.refused) == tally.operations - WITHOUT_INPUT
    assert set(tally.other_methods) > WITHOUT_INPUT


def with_key(engine, request: bytes) -> bytes:
    """Add the API key to the headers of a request."""
    lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in engine.headers.items())
    return request.replace(b"\r\n", b"\r\n" + lines, 1)


def exchange(engine, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are, with the API key; return the answer's status and body."""
    with socket.create_connection(("127.0.0.1", engine.port), WITHIN_S) as wire:
        wire.settimeout(WITHIN_S)
        wire.sendall(with_key(engine, request))
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def written(
    method: bytes, target: bytes, headers: bytes = b"", body: bytes = b"", length: bytes | None = None
) -> bytes:
    """Write a request, however wrong."""
    counted = b"%d" % len(body) if length is None else length
    lines = b"Host: localhost\r\nConnection: close\r\n" + headers + b"Content-Length: " + counted + b"\r\n\r\n"
    return method + b" " + target + b" HTTP/1.1\r\n" + lines + body


BODIES = [
    b"",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf" + ORDER,
    ORDER + b"\0",
    ORDER.replace(b"SOL", b"\\u0000"),
    ORDER.replace(b"SOL", b"\\ud800"),
    b'{"\\ud800":1}',
    ORDER[:-1] + b',"amount":"2"}',
    ORDER[:-1] + b',"slippageBps":1e999999999}',
    ORDER[:-1] + b',"slippageBps":' + b"9" * 5_000 + b"}",
    ORDER.replace(b'"1.5"', b"1e999999999"),
    ORDER.replace(b'"1.5"', b"-Infinity"),
    b"[" * 60_000,
    b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    b"{" + b",".join(b'"%d":1' % number for number in range(5_000)) + b"}",
    b" " * 70_000,
]


@pytest.mark.parametrize("target", [b"/api/orders/execute", b"/api/orders/estimate", b"/api/orders/batch"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
def test_a_body_no_client_should_send_is_refused_in_the_one_shape(engine, target, body):
    status, answer = exchange(engine, written(b"POST", target, JSON, body))
    assert status == 400
    assert set(json.loads(answer)["error"]) == {"code", "message", "fields"}
    assert len(answer) < 32_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (written(b"GET", b"/api/orders/%zz"), 404),
        (written(b"GET", b"/api/orders/%00"), 404),
        (written(b"GET", b"/api/orders/%ed%a0%80"), 404),
        (written(b"GET", b"/api/orders//events"), 404),
        (written(b"GET", b"/api/orders?cursor=%"), 400),
        (written(b"GET", b"/api/orders?cursor=0"), 400),
        (written(b"GET", b"/api/orders?cursor=%ff%fe"), 400),
        (written(b"GET", b"/api/orders?pair=%00"), 400),
        (written(b"GET", b"/api/orders?type="), 400),
        (written(b"GET", b"/api/orders?type=limit&type=market"), 400),
        (written(b"GET", b"/api/orders?createdAfter=2026-11-22"), 400),
        (written(b"GET", b"/api/orders?createdAfter=0001-01-01T00:00:00%2B23:59"), 400),
        (written(b"GET", b"/api/orders?createdBefore=9999-12-31T23:59:59-23:59"), 400),
        (written(b"GET", b"/api/orders?status=" + b"x" * 5_000), 400),
        (written(b"GET", b"/api/orders?" + b"&".join([b"a=1"] * 2_000)), 400),
        (written(b"GET", b"/api/orders?format=xml"), 400),
        (written(b"GET", b"/metrics?part=queues"), 400),
        (written(b"GET", b"/healthz", b"Host: elsewhere\r\n"), 400),
        (written(b"GET", b"/api/pairs", b"Accept: text/html\r\n"), 406),
        (written(b"POST", b"/api/orders/execute", JSON + b"Accept: text/html\r\n", ORDER), 406),
        (written(b"POST", b"/api/orders/execute?fast=1", JSON, ORDER), 400),
        (written(b"POST", b"/api/orders/execute", b"", ORDER), 415),
        (written(b"POST", b"/api/orders/execute", b"Content-Type: \xff\r\n", ORDER), 415),
        (written(b"POST", b"/api/orders/execute", b"Content-Type: multipart/form-data\r\n", ORDER), 415),
        (written(b"POST", b"/api/orders/execute", JSON + b"Idempotency-Key: \xff\r\n", ORDER), 400),
        (written(b"POST", b"/api/orders/execute", JSON + b"Idempotency-Key: \r\n", ORDER), 400),
        (written(b"POST", b"/api/orders/execute", JSON + b"Idempotency-Key: a\r\n" * 2, ORDER), 400),
        (written(b"POST", b"/api/orders/execute", JSON, ORDER, b"20"), 400),
        (written(b"PATCH", NO_ORDER, JSON + b'If-Match: "\r\n', b"{}"), 404),
        (written(b"TRACE", b"/api/orders"), 405),
        (written(b"CONNECT", b"/api/orders/execute"), 405),
        (written(b"PROPFIND", b"/healthz"), 405),
        (written(b"HEAD", b"/metrics"), 200),
    ],
    ids=lambda value: repr(value[:70]) if isinstance(value, bytes) else str(value),
)
def test_what_is_written_wrong_is_answered_as_what_it_is(engine, request_, status):
    answered, body = exchange(engine, request_)
    assert answered == status, body[:300]
    if body:
        # Where it was not the application that answered, chunked.
        assert b'"error"' in body


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"FOO /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        written(b"GET", b"/api/orders/\xff"),
        written(b"GET", b"/api/orders?" + b"a" * 70_000),
        written(b"POST", b"/api/orders/execute", JSON, ORDER, b"-5"),
        written(b"POST", b"/api/orders/execute", JSON, ORDER, b"9" * 30),
        written(b"POST", b"/api/orders/execute", JSON + b"Content-Length: 3\r\n", ORDER),
        written(b"POST", b"/api/orders/execute", JSON + b"Transfer-Encoding: chunked\r\n", ORDER),
        written(b"POST", b"/api/orders/execute", JSON + b"Idempotency-Key: a\0b\r\n", ORDER),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_what_is_not_http_is_refused_and_the_server_goes_on(engine, request_):
    before = orders(engine)
    status, _ = exchange(engine, request_)
    # 431 where the head is too large to be read.
    assert status == (431 if len(request_) > 65_536 else 400)
    assert httpx.get(f"{engine.url}/healthz").json() == {"status": "ok"}
    assert orders(engine) == before


def test_half_an_order_is_no_order(engine):
    before = orders(engine)
    with socket.create_connection(("127.0.0.1", engine.port), WITHIN_S) as wire:
        wire.settimeout(WITHIN_S)
        request = written(b"POST", b"/api/orders/execute", JSON, ORDER, b"%d" % (len(ORDER) + 50))
        wire.sendall(with_key(engine, request))
        wire.shutdown(socket.SHUT_WR)
        assert wire.recv(65_536) == b""
    assert orders(engine) == before


def orders(engine) -> int:
    """Count the orders there are."""
    with engine.postgres() as db:
        return db.execute("SELECT count(*) FROM orders_order").fetchone()[0]
