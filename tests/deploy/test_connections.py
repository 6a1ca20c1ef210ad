"""Clients that stall, drip or flood, as raw bytes: none is waited for longer than its time limit, none is buffered."""

import asyncio
import gc

import pytest

from deploy import connections, requests, sockets
from tests.client.misbehaving import bound, served
from tests.deploy.test_upgrades import answered
from tests.fuzz import stalls
from tests.fuzz.stalls import HOST, STALLS, connected, ended, frame
from tests.orders.doors import until

LIMIT_S = 0.4
DEADLINE_S = 10.0
"""For whatever has a time limit of LIMIT_S, on a busy machine; below uvicorn's own limits."""
ENDS = {
    "nothing": "closed",
    "slow head": "408",
    "second head": "408",
    "half handshake": "408",
    "slow rest": "400",
    "slow message": "1008",
    "unread answers": "closed",
    "unread pongs": "closed",
    "unread messages": "closed",
    "unread stream": "closed",
}
GET = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"


async def stand_in(scope, receive, send):
    """Refuse what has a body, answer the rest at length; a socket says again and again how much it heard."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        if "quotes" in scope["path"]:
            while True:
                await send({"type": "websocket.send", "text": "x" * 50_000})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "x" * 1000})
        return
    refused = scope["method"] == "POST"
    text = b"" if refused else scope["path"].encode() * 1000
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 400 if refused else 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
async def place(monkeypatch):
    """A server with short time limits."""
    for name in ("HEAD_WITHIN_S", "REST_WITHIN_S"):
        monkeypatch.setattr(requests, name, LIMIT_S)
    monkeypatch.setattr(sockets, "MESSAGE_WITHIN_S", LIMIT_S)
    monkeypatch.setattr(connections, "TAKEN_WITHIN_S", LIMIT_S)
    monkeypatch.setattr(stalls, "DRIP_S", LIMIT_S / 10)
    taken, _ = bound()
    async with served(stand_in, taken):
        yield taken.getsockname()


@pytest.mark.parametrize(("name", "how"), ENDS.items(), ids=ENDS.keys())
async def test_who_stalls_is_told_why_where_that_is_possible_and_is_closed(place, name, how):
    assert (await ended(STALLS[name], *place, within_s=DEADLINE_S)).how == how


@pytest.mark.parametrize("name", ["endless head", "endless trailer"])
async def test_headers_without_end_are_not_kept(place, name, monkeypatch):
    monkeypatch.setattr(requests, "HEAD_WITHIN_S", 60)
    monkeypatch.setattr(requests, "REST_WITHIN_S", 60)
    assert (await ended(STALLS[name], *place, within_s=DEADLINE_S)).how != "open"


async def test_a_head_that_is_too_large_is_refused_in_words(place):
    async with connected(*place) as line:
        await line.send(b"GET /a HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * (requests.HEAD_MAX // 6))
        assert (await answered(line.reader))[0] == 431


async def test_connections_that_have_ended_leave_nothing_for_the_collector(place):
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            async with connected(*place) as line:
                await line.send(GET)
                assert (await answered(line.reader))[0] == 200
        await until(lambda: not there(requests.Requests), "all are gone")
    finally:
        gc.enable()


def there(kind):
    """Return the objects of a class that are in memory."""
    return [one for one in gc.get_objects() if isinstance(one, kind)]


@pytest.fixture
def written(monkeypatch):
    """What connections send from now on, in the pieces in which they do."""
    pieces = []

    class Recorded(connections.Together):
        def flush(self):
            if self.unsent and not self.is_closing():
                pieces.append(b"".join(self.unsent))
            super().flush()

    monkeypatch.setattr(requests, "Together", Recorded)
    return pieces


async def test_what_is_sent_to_a_socket_in_one_turn_of_the_loop_leaves_together(written):
    async def tells_thrice(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for text in ("one", "two", "three"):
            await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})

    taken, _ = bound()
    async with served(tells_thrice, taken), connected(*taken.getsockname()) as line:
        await line.open_socket(b"/ws/a")
        assert (await line.reader.readexactly(17)) == b"\x81\x03one\x81\x03two\x81\x05three"
    assert any(b"one" in piece and b"three" in piece for piece in written)


async def test_the_head_of_an_answer_leaves_with_its_body_and_without_one_by_itself(place, written):
    async with connected(*place) as line:
        await line.send(GET)
        assert (await answered(line.reader))[0] == 200
        assert [(one.startswith(b"HTTP/1.1 200"), one.endswith(b"\r\n\r\n" + b"/a" * 1000)) for one in written] == [
            (True, True)
        ]
        await line.send(GET.replace(b"GET", b"HEAD"))
        assert (await line.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    async with connected(*place) as line:
        await line.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n").replace(b"GET", b"HEAD"))
        assert (await line.reader.read()).startswith(b"HTTP/1.1 200")


async def test_line_breaks_between_requests_do_not_keep_a_connection(place):
    async with connected(*place) as line, asyncio.timeout(DEADLINE_S):
        await line.send(GET)
        assert (await answered(line.reader))[0] == 200
        await line.listen(line.drip(b"\r\n"))


async def test_a_connection_with_quick_requests_lives_longer_than_any_time_limit(place):
    """Each packet ends one request and begins the next."""
    loop = asyncio.get_running_loop()
    async with connected(*place) as line:
        begun = loop.time()
        await line.send(GET[:9])
        while loop.time() < begun + 3 * LIMIT_S:
            await asyncio.sleep(LIMIT_S / 8)
            await line.send(GET[9:] + GET[:9])
            assert (await answered(line.reader))[0] == 200


async def test_a_socket_with_quick_messages_lives_longer_than_any_time_limit(place):
    loop = asyncio.get_running_loop()
    async with connected(*place) as line:
        await line.open_socket(b"/ws/a")
        begun = loop.time()
        await line.send(frame(1, b"a", final=False))
        while loop.time() < begun + 3 * LIMIT_S:
            await asyncio.sleep(LIMIT_S / 8)
            await line.send(frame(0, b"b") + frame(1, b"a", final=False))
            assert (await line.reader.readexactly(1004))[:2] == b"\x81\x7e"


async def test_requests_in_one_packet_are_all_served_however_many(place):
    async with connected(*place) as line:
        sending = asyncio.create_task(line.send(GET * 3000))
        for _ in range(3000):
            assert (await answered(line.reader))[0] == 200
        await sending


async def test_few_requests_of_one_packet_are_parsed_before_they_can_be_served(monkeypatch):
    go, begun = asyncio.Event(), []

    async def held(scope, receive, send):
        begun.append(asyncio.create_task(receive()))
        await go.wait()
        await stand_in(scope, receive, send)

    parsed = 0
    whole = requests.Requests.on_message_complete

    def count(self):
        nonlocal parsed
        parsed += 1
        whole(self)

    monkeypatch.setattr(requests.Requests, "on_message_complete", count)
    taken, _ = bound()
    async with served(held, taken), connected(*taken.getsockname()) as line:
        await line.send(GET * 3000)
        await until(lambda: parsed > requests.PIPELINED_MAX, "requests are parsed")
        assert parsed <= 1 + requests.PIPELINED_MAX + connections.PART // len(GET)
        go.set()
        for _ in range(3000):
            assert (await answered(line.reader))[0] == 200


async def test_of_too_many_connections_without_a_request_the_first_makes_room(place, monkeypatch):
    monkeypatch.setattr(requests, "WAITING_MAX", 2)
    monkeypatch.setattr(requests, "HEAD_WITHIN_S", 60)
    async with connected(*place) as first, connected(*place) as second, connected(*place) as third:
        async with asyncio.timeout(DEADLINE_S):
            assert await first.reader.read() == b""
        for line in (second, third):
            await line.send(GET)
            assert (await answered(line.reader))[0] == 200


async def test_a_message_that_is_not_utf8_ends_a_socket_without_a_traceback(place, caplog):
    async with connected(*place) as line, asyncio.timeout(DEADLINE_S):
        await line.open_socket(b"/ws/a")
        await line.send(frame(1, b"\xff"))
        await line.listen()
        assert line.told() == "1007"
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_malformed_request_does_not_take_the_answer_from_the_one_before(place):
    async with connected(*place) as line, asyncio.timeout(DEADLINE_S):
        await line.send(GET + b"\x00\r\n\r\n")
        assert (await answered(line.reader))[0] == 200
        await line.listen()


async def test_frames_that_come_before_the_handshake_is_answered_wait_for_it(monkeypatch):
    go, begun, came = asyncio.Event(), asyncio.Event(), []
    real = sockets.Socket.data_received

    def received(self, data):
        came.extend([data] if begun.is_set() else [])
        real(self, data)

    monkeypatch.setattr(sockets.Socket, "data_received", received)

    async def hesitant(scope, receive, send):
        await receive()
        begun.set()
        await go.wait()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    taken, _ = bound()
    async with served(hesitant, taken), connected(*taken.getsockname()) as line, asyncio.timeout(DEADLINE_S):
        opening = asyncio.create_task(line.open_socket(b"/ws/a"))
        await until(begun.is_set, "the server has the handshake")
        await line.send(frame(1, b"early"))
        await until(lambda: came, "the server has the frame")
        go.set()
        await opening
        assert await line.reader.readexactly(7) == b"\x81\x05early"


async def test_the_request_that_is_served_hears_that_its_client_left_though_others_wait_behind_it(caplog):
    begun, told = asyncio.Event(), []

    async def listening(scope, receive, send):
        told.append((await receive())["type"])
        begun.set()
        told.append((await receive())["type"])
        await stand_in(scope, receive, send)

    taken, _ = bound()
    async with served(listening, taken), asyncio.timeout(DEADLINE_S):
        async with connected(*taken.getsockname()) as line:
            await line.send(GET * 3)
            await begun.wait()
        await until(lambda: len(told) == 2, "the application is told")
    assert told == ["http.request", "http.disconnect"]
    assert not [record for record in caplog.records if record.exc_info]
