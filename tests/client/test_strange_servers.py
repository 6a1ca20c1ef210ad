"""The client before servers that are wrong, newer than it is, or no engine at all."""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from orders.api import examples
from orders.client import Backoff, Client, Event, NothingFurther, Order, Pending, Refused, Routing, Unreadable, calls
from orders.client.asked import written
from orders.client.events import KINDS, event_of, message_of
from orders.client.reading import read

ID = examples.ORDER_ID
LIFE = [
    {name: fact for name, fact in event.items() if name != "epoch"}
    for event in examples.told(examples.FILLED)["events"]
]
"""As an engine from before there were epochs told it."""
WITHIN_S = 30.0
HOLD = "say nothing more"


@asynccontextmanager
async def scripted(*connections):
    """Serve each connection in turn its list: messages, texts as they are, and in the end a close code."""
    asked = []

    async def stream(socket):
        asked.append(socket.request.path)
        for step in connections[min(len(asked), len(connections)) - 1]:
            if isinstance(step, int):
                await socket.close(step)
            elif step == HOLD:
                await socket.wait_closed()
            else:
                await socket.send(step if isinstance(step, str | bytes) else json.dumps(step))

    async with serve(stream, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", backoff=Backoff(0.01, 0.02)) as client:
            yield client, asked


async def followed(client, **options):
    return [event async for event in client.follow(ID, within_s=WITHIN_S, **options)]


async def test_a_server_that_skips_an_event_is_asked_for_it_and_one_that_repeats_is_heard_once():
    first, second, *rest = LIFE
    async with scripted([first, *rest[:-1], HOLD], [first, first, second, second, *rest]) as (client, asked):
        assert [event.seq for event in await followed(client)] == [1, 2, 3, 4, 5]
        assert asked == [f"/ws/{ID}", f"/ws/{ID}?after=1"]


async def test_whoever_waits_is_told_once_that_the_engine_stays_away():
    told = []
    async with scripted([LIFE[0], 1012], *[[1012]] * 7, LIFE[1:]) as (client, _):
        assert len(await followed(client, away=told.append)) == 5
    assert len(told) == 1


async def test_an_end_before_the_last_event_is_told_as_that():
    async with scripted([1000]) as (client, asked):
        with pytest.raises(NothingFurther, match="no event past 9"):
            await followed(client, after=9)
        assert len(asked) == 1


@pytest.mark.parametrize(("code", "status"), [(4404, 404), (4400, 400), (4409, 409)])
async def test_a_refusal_is_final_by_its_close_code(code, status):
    error = {"error": {"code": "no", "message": "it is not so", "fields": []}}
    async with scripted([error, code]) as (client, asked):
        with pytest.raises(Refused, match="it is not so") as refusal:
            await followed(client)
        assert (refusal.value.status, len(asked)) == (status, 1)


@pytest.mark.parametrize(("told", "seconds"), [("10", 10), (None, None), ("Sun, 29 Nov 2026 08:00:00 GMT", None)])
def test_a_refusal_says_when_to_try_again_if_the_engine_does(told, seconds):
    headers = {"Retry-After": told} if told else {}
    answer = httpx.Response(503, json={"error": {"code": "paused", "message": "later"}}, headers=headers)
    with pytest.raises(Refused) as refusal:
        calls.said(answer)
    assert refusal.value.retry_after == seconds


@pytest.mark.parametrize("text", ["hello", "[]", "1", '{"seq": 1}', "null"])
async def test_what_is_no_message_of_the_engine_is_called_that(text):
    async with scripted([text]) as (client, _):
        with pytest.raises(Unreadable):
            await followed(client)


async def test_an_end_without_the_final_event_is_asked_about_once_more_and_then_told():
    first, second, *_ = LIFE
    async with scripted([first, second, 1000], [1000]) as (client, asked):
        with pytest.raises(NothingFurther, match="no event past 2"):
            await followed(client)
        assert len(asked) == 2
    async with scripted([first, second, 1000], LIFE[2:]) as (client, _):
        assert [event.seq for event in await followed(client)] == [1, 2, 3, 4, 5]


def lost(to, epoch):
    return {"orderId": ID, "rewoundTo": to, "epoch": epoch, "reason": "Redis was lost"}


async def test_an_event_of_a_history_that_was_not_told_of_is_asked_about():
    # The engine's history has another event 2 and another 3 than the client was told, and nobody has said so.
    before, after = [{**event, "epoch": 1} for event in LIFE], [{**event, "epoch": 2} for event in LIFE]
    async with scripted([*before[:3], *after[1:]], [lost(1, 2), *after[1:]]) as (client, asked):
        told = await followed(client)
    assert [getattr(one, "seq", "rewound") for one in told] == [1, 2, 3, "rewound", 2, 3, 4, 5]
    assert [one.epoch for one in told] == [1, 1, 1, 2, 2, 2, 2, 2]
    assert asked == [f"/ws/{ID}", f"/ws/{ID}?after=3&epoch=1"]


async def test_a_rewind_that_withdraws_nothing_is_not_told_and_moves_nothing_ahead():
    async with scripted([LIFE[0], lost(1, 2), lost(3, 3), *LIFE[3:]], LIFE[1:]) as (client, asked):
        assert [event.seq for event in await followed(client)] == [1, 2, 3, 4, 5]
        assert asked == [f"/ws/{ID}", f"/ws/{ID}?after=1&epoch=3"]


async def test_a_newer_servers_rewind_keeps_what_this_client_does_not_know():
    assert message_of({**lost(1, 2), "lost": "2 s"}).facts == {"lost": "2 s"}


async def test_a_newer_servers_events_keep_what_this_client_does_not_know():
    paused = {**LIFE[0], "seq": 2, "status": "paused", "kind": "paused", "until": "tomorrow"}
    async with scripted([{**LIFE[0], "desk": "north"}, paused, *[{**e, "seq": e["seq"] + 1} for e in LIFE[1:]]]) as (
        client,
        _,
    ):
        first, second, *_, last = await followed(client)
    assert isinstance(first, Pending) and first.facts == {"desk": "north"}
    assert type(second) is Event and (second.status, second.facts["until"]) == ("paused", "tomorrow")
    assert last.final


def test_facts_in_a_shape_that_came_later_are_kept_as_they_are():
    routed = LIFE[1]
    assert isinstance(event_of(routed), Routing)
    later = event_of({**routed, "quotes": "see elsewhere"})
    assert type(later) is Event and later.facts["quotes"] == "see elsewhere"


@pytest.mark.parametrize("life", examples.LIVES)
def test_every_documented_event_is_of_a_kind_with_nothing_left_over(life):
    for data in examples.told(life)["events"]:
        event = event_of(data)
        assert type(event) in KINDS.values()
        assert event.facts == {}
        assert event.raw == data


async def test_an_orders_events_are_read_with_what_they_take_back(monkeypatch):
    first, second, third, *_ = map(event_of, examples.told(examples.FILLED)["events"])
    answers, asked = [], []

    def answer(request):
        asked.append(str(request.url))
        return httpx.Response(200, json=answers.pop(0))

    def connection(url, headers):
        return httpx.AsyncClient(base_url=url, headers=headers, transport=httpx.MockTransport(answer))

    monkeypatch.setattr(calls, "connection", connection)
    answers += [
        {"orderId": ID, "events": [first.raw, second.raw]},
        {"orderId": ID, "rewoundTo": 1, "events": [third.raw], "newer": 1},
        {"orderId": ID, "rewoundTo": None, "events": []},
        {"orderId": ID, "rewoundTo": 1},
    ]
    async with Client("http://engine") as client:
        everything = await client.events(ID)
        assert everything.onto(()) == everything.events == (first, second)
        assert type(everything.events[1]) is Routing
        found = await client.events(ID, after=2, epoch=3)
        assert (found.rewound_to, found.onto(everything.events), found.facts) == (1, (first, third), {"newer": 1})
        assert (await client.events(ID, after=3)).onto((first, second, third)) == (first, second, third)
        with pytest.raises(Unreadable, match="without events"):
            await client.events(ID)
    assert [url.partition("events")[2] for url in asked] == ["", "?after=2&epoch=3", "?after=3", ""]


def test_deadline_and_epoch_are_read_where_they_are_told_and_may_be_missing():
    at = "2026-11-22T12:00:30.000Z"
    older = {name: value for name, value in examples.RESTING.items() if name not in ("epoch", "deadline")}
    assert (read(Order, older).epoch, read(Order, older).deadline) == (0, None)
    newer = read(Order, {**older, "epoch": 3, "deadline": at})
    assert (newer.epoch, newer.deadline) == (3, datetime.fromisoformat(at))
    pending = {name: value for name, value in LIFE[0].items() if name not in ("epoch", "deadline")}
    assert event_of(pending).deadline is None and event_of(pending).epoch == 0
    assert event_of({**pending, "deadline": at, "epoch": 2}).deadline == datetime.fromisoformat(at)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_sent_digit_by_digit(value):
    text = written(value)
    assert Decimal(text) == value
    assert "E" not in text


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_sent_with_its_offset(at):
    assert datetime.fromisoformat(written(at)) - at == timedelta()
