"""Calls of webhooks: never to where only the engine gets, and nothing told of its network."""

import socket
import threading
from ipaddress import ip_address

import pytest

from orders.operations import webhook_calls
from orders.operations.webhook_calls import NOT_PUBLIC, NotAllowed, call, checked, parsed, resolving
from tests.orders.receiver import receiving

pytestmark = pytest.mark.usefixtures("webhook_account")


PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "::ffff:10.0.0.1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::", "64:ff9b::10.0.0.1", "2002:a00:1::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_an_address_that_is_not_public_is_refused_by_number_and_by_name(address, settings, monkeypatch):
    settings.ENGINE_WEBHOOK_PRIVATE = False
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(NotAllowed, match=NOT_PUBLIC):
        parsed(f"https://{literal}/events")
    # One address of several is enough.
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("8.8.8.8", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(NotAllowed, match=NOT_PUBLIC):
        await checked(resolving(parsed("https://receiver.example.com/events")))
    answer = await call("https://receiver.example.com/events", b"", {})
    assert (answer.outcome, answer.error) == ("forbidden", f"the URL {NOT_PUBLIC}")
    assert str(ip_address(address)) in answer.detail


@pytest.mark.parametrize("reason", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
async def test_a_name_that_is_not_known_reads_like_a_private_address(reason, settings, monkeypatch):
    settings.ENGINE_WEBHOOK_PRIVATE = False

    def unknown(*_, **__):
        raise reason

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    answer = await call("https://db.internal/", b"", {})
    assert (answer.error, answer.detail) == (f"the URL {NOT_PUBLIC}", repr(reason))


async def test_a_name_that_resolves_too_slowly_reads_like_a_private_address(settings, monkeypatch, slow_names):
    settings.ENGINE_WEBHOOK_PRIVATE = False
    monkeypatch.setattr(webhook_calls, "WITHIN_S", 0.2)
    answer = await call("https://slow.example.com/", b"", {})
    assert (answer.error, answer.ms < 5_000) == (f"the URL {NOT_PUBLIC}", True)


async def test_a_refused_connection_tells_the_owner_no_more_than_that(monkeypatch):
    with receiving() as gone:
        url = gone.url
    answer = await call(url, b"", {})
    assert answer.error == "no connection to the receiver"
    assert answer.detail.startswith("ConnectError")


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f.1", "2130706433"])
async def test_other_spellings_of_this_machine_are_refused(host, settings):
    settings.ENGINE_WEBHOOK_PRIVATE = False
    answer = await call(f"https://{host}/", b"", {})
    assert (answer.outcome, answer.error) == ("forbidden", f"the URL {NOT_PUBLIC}"), answer


async def test_the_connection_goes_to_the_address_that_was_checked(receiver, monkeypatch):
    asked = []

    def once(host, port, **_):
        asked.append(host)
        assert len(asked) == 1, "a name is resolved once"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(webhook_calls.socket, "getaddrinfo", once)
    url = receiver.url.replace("127.0.0.1", "receiver.example.com")
    answer = await call(url, b"{}", {})
    assert (answer.outcome, asked) == ("delivered", ["receiver.example.com"])
    assert receiver.calls[0][0]["host"] == f"receiver.example.com:{receiver.port}"


async def test_a_receiver_that_never_answers_ends_within_the_limit(receiver, monkeypatch):
    monkeypatch.setattr(webhook_calls, "WITHIN_S", 0.2)
    receiver.held = threading.Event()
    answer = await call(receiver.url, b"{}", {})
    receiver.held.set()
    assert (answer.outcome, answer.error) == ("unreachable", "no answer within 0.2 s")
