"""HTTP requests and WebSocket conversations, right and wrong, as bytes."""

import struct
import zlib
from random import Random

from tests.fuzz.documents import document, spoiled
from tests.fuzz.stalls import HANDSHAKE, frame

METHODS = (
    b"GET",
    b"GET",
    b"POST",
    b"POST",
    b"POST",
    b"PATCH",
    b"DELETE",
    b"PUT",
    b"HEAD",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
)
STRANGE_METHODS = (b"", b"get", b"PRI", b"G\x00T", b"X" * 5000, b"PROPFIND", "É".encode(), b"GET GET")
IDS = (
    *(
        b"01a20491-4561-78b3-ab49-e00288d86960",
        b"SOL-USDC",
        b"1",
        b"0",
        b"-1",
        b"%00",
        b"%ff",
        b"%",
        b"%2e%2e%2f",
        b"..",
    ),
    *(b"a" * 9000, b"%F0%9F%98%80", b"\xff", b"'", b"*", b"a//b", b"%0d%0aX:1", b"9" * 400, b"SOL-USDC;x", b"execute"),
)
QUERIES = (
    *(
        b"?",
        b"?limit=1",
        b"?limit=0",
        b"?limit=99999999999999",
        b"?cursor=%00",
        b"?cursor=AAAA",
        b"?status=\xff",
        b"?after=-1",
    ),
    *(
        b"?after=1&epoch=" + b"9" * 400,
        b"?" + b"a=1&" * 2000,
        b"?pair=%ud800",
        b"?" + b"x" * 9000,
        b"?page=1e9",
        b"?o=1.2.3",
    ),
    *(
        b"?q=%00",
        b"?type=market&type=limit",
        b"?createdAfter=0001-01-01T00:00:00Z",
        b"?format=xml",
        b"#fragment",
        b"?e=1&p=-1",
    ),
)
TARGETS = (
    b"*",
    b"",
    b"//",
    b"http://localhost/api/pairs",
    b"http://other.example/",
    b"localhost:443",
    b"api/pairs",
    b"/\x00",
    b"/ /",
    b"\\",
)
VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/9.9",
    b"http/1.1",
    b"HTTP/1.1 x",
    b"",
    b"HTTP/",
    b"HTTP/1.111111",
)
HOSTS = (
    b"127.0.0.1",
    b"other.example",
    b"",
    b"localhost:99999",
    b"[::1]",
    b"[",
    b"a" * 300,
    b"localhost\x00",
    b"\xff",
    b"localhost, localhost",
)
HEADERS = (
    *(
        b"Content-Type: application/json; charset=utf-99",
        b"Content-Type: text/plain",
        b"Content-Type: " + b"/" * 300,
        b"Content-Type:",
    ),
    *(
        b"Content-Type: multipart/form-data; boundary=" + b"x" * 300,
        b"Content-Type: multipart/form-data",
        b"Content-Type: a/b; charset=\xff",
    ),
    *(
        b"Content-Length: 0",
        b"Content-Length: -1",
        b"Content-Length: 5, 5",
        b"Content-Length: 1e3",
        b"Content-Length: " + b"9" * 40,
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: x",
    ),
    *(
        b"Expect: 100-continue",
        b"Expect: 999",
        b"Connection: keep-alive",
        b"Connection: upgrade, close",
        b"Upgrade: h2c",
        b"Upgrade: websocket",
    ),
    *(
        b"Content-Encoding: gzip",
        b"Accept-Encoding: gzip;q=x",
        b"Accept: */",
        b"Accept: text/html",
        b"Accept: " + b"a/b," * 500,
        b"Accept: \xff",
    ),
    *(
        b"Cookie: " + b"a=b;" * 500,
        b"Cookie: sessionid=\x01\xff",
        b"Cookie: =",
        b"Cookie: sessionid=" + b"x" * 4000,
        b"Range: bytes=5-1",
    ),
    *(
        b'If-Match: "1"',
        b"If-Match: *",
        b'If-Match: "' + b"9" * 400 + b'"',
        b"If-Match: \xff",
        b"If-None-Match: W/",
        b"If-Modified-Since: x",
    ),
    *(
        b"Idempotency-Key: ",
        b"Idempotency-Key: \xff",
        b"Idempotency-Key: " + b"k" * 300,
        b"Idempotency-Key: a\x00b",
        b"Idempotency-Key: a",
    ),
    *(
        b"Authorization: Bearer",
        b"Authorization: Bearer \xff",
        b"Authorization: Basic %%%",
        b"Authorization: " + b"x" * 5000,
    ),
    *(
        b"Origin: null",
        b"Origin: http://[",
        b"Origin: http://other.example",
        b"Referer: \xff",
        b"traceparent: 00-x",
        b"traceparent: " + b"0" * 99,
    ),
    *(
        b"X-Forwarded-For: " + b"1," * 500,
        b"X-Forwarded-For: \xff",
        b"X-Forwarded-Proto: gopher",
        b"X-Forwarded-Proto: \xff",
        b"X-HTTP-Method-Override: PUT",
    ),
    *(
        b" folded: 1",
        b"a : b",
        b": b",
        b"nocolon",
        b"a\x00: b",
        b"a: \x00",
        b"a: b\rc: d",
        b"\xff: 1",
        b"A: " + b"x" * 9000,
        b"A: " + b"x" * 70_000,
    ),
)
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""Has the server close a connection that it does not close by itself."""


def some(rng: Random, chance: float, strange: tuple[bytes, ...], plain: bytes) -> bytes:
    """Return something strange by that chance."""
    return rng.choice(strange) if rng.random() < chance else plain


def filled(rng: Random, place: str) -> bytes:
    """Return a place as a target, with what varies filled in."""
    path = b"".join(part + rng.choice(IDS) for part in place.encode().split(b"{}"))
    path = path if place.endswith("{}") else place.replace("{}", "1").encode() if "{}" not in place else path
    return some(rng, 0.05, TARGETS, path + some(rng, 0.3, QUERIES, b""))


def request(rng: Random, place: str, key: bytes) -> bytes:
    """Return a request: mostly of the right form, with some strange parts."""
    body = document(rng) if rng.random() < 0.7 else rng.randbytes(rng.choice((0, 1, 100)))
    target = filled(rng, place)
    line = b" ".join(
        (some(rng, 0.05, STRANGE_METHODS, rng.choice(METHODS)), target, some(rng, 0.05, VERSIONS, b"HTTP/1.1"))
    )
    headers = [b"Host: " + some(rng, 0.08, HOSTS, b"localhost"), b"Content-Type: application/json", *key.splitlines()]
    headers += [rng.choice(HEADERS) for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3)))]
    if rng.random() < 0.01:
        headers += [b"X-%d: 1" % number for number in range(rng.choice((200, 3000, 8000)))]
    framing, body = framed(rng, body)
    rng.shuffle(headers)
    ending = some(rng, 0.03, (b"\n", b"\r", b"\r\r\n"), b"\r\n")
    return (
        spoiled(rng, ending.join((line, *headers, *framing, b"", b""))) + body
        if rng.random() < 0.3
        else ending.join((line, *headers, *framing, b"", b"")) + body
    )


def framed(rng: Random, body: bytes) -> tuple[list[bytes], bytes]:
    """Return how a body's length is told, and the body as it is then sent."""
    if rng.random() < 0.7:
        wrong = rng.choice((1, -1, 50)) if rng.random() < 0.04 else 0
        return [b"Content-Length: %d" % max(0, len(body) + wrong)], body
    size = rng.choice((1, 7, 100, 10_000))
    chunks = [body[at : at + size] for at in range(0, min(len(body), size * 50), size)]
    lines = [
        b"%x%s\r\n%s\r\n" % (len(one), some(rng, 0.1, (b";a=b", b";" + b"x" * 500, b"\t"), b""), one) for one in chunks
    ]
    if lines and rng.random() < 0.15:
        lines[rng.randrange(len(lines))] = rng.choice(
            (b"-1\r\n", b"x\r\n", b"f" * 20 + b"\r\n", b"5\r\nab\r\n", b"\r\n", b"0x1\r\na\r\n")
        )
    end = some(
        rng,
        0.1,
        (b"", b"0\r\n", b"0\r\nA: b\r\n\r\n", b"0\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"0\r\n\x00\r\n\r\n"),
        b"0\r\n\r\n",
    )
    return [b"Transfer-Encoding: chunked"], b"".join(lines) + end


def requests(rng: Random, places: list[str], key: bytes) -> bytes:
    """Return one request, or several in a row, and a last one that ends the connection."""
    count = rng.choice((1, 1, 1, 1, 1, 1, 2, 3)) if rng.random() < 0.99 else 30
    one = request(rng, rng.choice(places), key)
    more = (
        [request(rng, rng.choice(places), key) for _ in range(count - 1)]
        if count < 10
        else [LAST.replace(b"close", b"x")] * count
    )
    return b"".join((one, *more, LAST))


def handshake(rng: Random, place: str, key: bytes) -> bytes:
    """Return a handshake, mostly a right one."""
    strange = b"".join(rng.choice(HEADERS) + b"\r\n" for _ in range(rng.choice((0, 0, 0, 0, 1))))
    asks = some(
        rng,
        0.1,
        (
            b"Sec-WebSocket-Protocol: a, b\r\n",
            b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n",
        ),
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    )
    whole = b"GET " + filled(rng, place) + b" HTTP/1.1\r\n" + HANDSHAKE + asks + key + strange + b"\r\n"
    return spoiled(rng, whole) if rng.random() < 0.1 else whole


def frames(rng: Random) -> bytes:
    """Return some frames, now and then one many times, and one that closes."""
    one = some_frame(rng)
    if rng.random() < 0.01:
        sent = one * (20_000 // len(one))
    else:
        sent = b"".join((one, *(some_frame(rng) for _ in range(rng.choice((0, 1, 1, 2, 3))))))
    return sent + frame(8, struct.pack("!H", 1000))


def some_frame(rng: Random) -> bytes:
    """Return a frame, right or wrong."""
    match rng.randrange(10):
        case 0 | 1 | 2:
            return frame(rng.choice((1, 1, 2)), document(rng))
        case 3:
            return frame(rng.randrange(16), document(rng), final=rng.random() < 0.5, masked=rng.random() < 0.8)
        case 4:
            return frame(8, some(rng, 0.5, (b"", b"\x03", b"\x03\xe8\xff", b"\x03\xe8" + b"x" * 200), closing(rng)))
        case 5:
            return frame(rng.choice((9, 10)), rng.randbytes(rng.choice((0, 4, 125, 126))))
        case 6:
            data = document(rng)
            parts = [frame(0, data[at : at + 9], final=False) for at in range(0, min(len(data), 500), 9)]
            return frame(1, b"", final=False) + b"".join(parts) + frame(rng.choice((0, 0, 1)), b"")
        case 7:
            return bytes([0xC0 | rng.randrange(4)]) + frame(1, zlib.compress(b"x" * 100_000))[1:]
        case 8:
            size = rng.choice((2**63, 2**64 - 1, 2**31, 200_000, 5))
            return (
                struct.pack("!BBQ", 0x80 | rng.choice((1, 2, 9)), 0x80 | 127, size)
                + bytes(4)
                + b"x" * min(size, 200_000)
            )
        case _:
            return rng.randbytes(rng.choice((1, 2, 14, 300)))


def closing(rng: Random) -> bytes:
    """Return what a close frame says."""
    return struct.pack("!H", rng.choice((0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 2999, 4000, 5000, 65_535)))
