"""The fuzzer's judge finds what it is there to find."""

import re

import pytest

from tests.fuzz.judging import complaints, outcome, wrong_with

PRIVATE = re.compile(rb"Traceback \(most|/data/dir")
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n{}"
OPEN = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "wrong"),
    [
        (b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{}" + BUSY, []),
        (b"HTTP/1.1 500 Internal Server Error\r\na: b\r\n\r\n", ["answered 500"]),
        (b"HTTP/1.1 200 OK\r\na: b\r\n\r\nHTTP/1.1 502 Bad\r\na: b\r\n\r\n", ["answered 502"]),
        (BUSY.replace(b"Retry-After", b"a"), ["answered 503"]),
        (b"HTTP/1.1 400 Bad\r\na: b\r\n\r\nTraceback (most recent", ["told b'Traceback (most'"]),
        (b"HTTP/1.1 404 Bad\r\na: b\r\n\r\n/data/dir/logs", ["told b'/data/dir'"]),
        (OPEN + b"\x88\x02\x03\xf3", ["closed with 1011"]),
        (OPEN + b"\x88\x18\x03\xf3keepalive ping timeout", []),
        (OPEN + b"\x88\x02\x03\xe8", []),
    ],
)
def test_what_is_wrong_with_an_answer(received, wrong):
    assert wrong_with(received, PRIVATE) == wrong


def test_how_a_connection_ended_is_named():
    told = [b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Bad\r\na: b\r\n\r\n", OPEN, OPEN + b"\x88\x02\x03\xe8"]
    assert [outcome(one) for one in told] == ["no answer", "404", "101", "closed 1000"]


def test_errors_and_tracebacks_in_logs_are_found(tmp_path):
    lines = [
        '{"level": "info"}',
        '{"level": "error", "event": "a"}',
        "Traceback (most recent call last):",
        "LOG: ERROR",
    ]
    (tmp_path / "api.log").write_text("\n".join(lines))
    assert complaints(tmp_path) == [f"api.log: {line}" for line in lines[1:3]]
