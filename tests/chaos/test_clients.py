"""The clients of a run: they resume where they were, and write down all they are told."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from websockets.asyncio.server import serve

from tests.chaos.clients import feed, socket
from tests.chaos.clients.feed import Feed, resume
from tests.chaos.clients.journal import Journal
from tests.chaos.clients.story import Story

ORDER, OTHER = "order-1", "order-2"


def event(seq, status, epoch=1, order_id=ORDER):
    return {"orderId": order_id, "epoch": epoch, "seq": seq, "status": status, "at": "2026-01-01T00:00:00.000Z"}


LIFE = [event(1, "pending"), event(2, "routing"), event(3, "building"), event(4, "confirmed")]


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "clients.jsonl")
    yield made
    made.close()


def written(journal, kind="told"):
    journal.flush()
    lines = map(json.loads, Path(journal.file.name).read_text().splitlines())
    return [line for line in lines if line["k"] == kind]


@asynccontextmanager
async def server(handler):
    """Serve sockets while the block runs; yields where."""
    async with serve(handler, "127.0.0.1", 0) as serving:
        yield f"ws://127.0.0.1:{serving.sockets[0].getsockname()[1]}"


def test_a_story_goes_on_from_its_last_event_and_from_where_it_was_rewound_to(journal):
    story = Story(journal, "me", ORDER)
    assert story.place == {"after": 0}
    for one in LIFE:
        story.take(one)
    assert (story.place, story.ended) == ({"after": 4, "epoch": 1}, True)
    story.take({"orderId": ORDER, "rewoundTo": 2, "epoch": 5, "reason": "emptied"})
    assert (story.place, story.ended) == ({"after": 2, "epoch": 5}, False)


def test_an_engine_without_epochs_is_asked_for_none(journal):
    story = Story(journal, "me", ORDER)
    story.take({"orderId": ORDER, "seq": 1, "status": "pending"})
    assert story.place == {"after": 1}


async def test_a_socket_that_is_dropped_comes_back_for_the_rest(journal):
    asked = []

    async def tell(connection):
        asked.append(connection.request.path)
        after = 2 if "after=2" in connection.request.path else 0
        for one in LIFE[after:]:
            await connection.send(json.dumps(one))

    async with server(tell) as url, asyncio.timeout(10):
        await socket.follow(url, Story(journal, "me", ORDER), drops=[2])
    assert asked == [f"/ws/{ORDER}", f"/ws/{ORDER}?after=2&epoch=1"]
    assert [line["message"] for line in written(journal)] == LIFE
    assert [line["n"] for line in written(journal)] == [2, 3, 4, 5]


async def test_that_a_store_is_away_is_not_said_of_the_order_that_there_is_none_is(journal):
    errors = iter([{"error": {"code": "store_unreachable"}}, {"error": {"code": "not_found"}}])

    async def tell(connection):
        with suppress(StopIteration):
            await connection.send(json.dumps(next(errors)))
            await connection.close(1013)
            return
        for one in LIFE:
            await connection.send(json.dumps(one))

    async with server(tell) as url, asyncio.timeout(10):
        await socket.follow(url, Story(journal, "me", ORDER), drops=[])
    assert written(journal)[0]["message"] == {"error": {"code": "not_found"}}
    assert len(written(journal)) == 1 + len(LIFE)


async def test_a_feed_asks_for_everything_anew_when_its_socket_breaks(journal):
    asked, ended = [], asyncio.Event()

    async def tell(connection):
        message = json.loads(await connection.recv())
        asked.append(message["follow"])
        after = message["follow"][0]["after"]
        for one in LIFE[after : after + 2]:
            await connection.send(json.dumps(one))
        if after:
            ended.set()
            await connection.wait_closed()

    async with server(tell) as url, asyncio.timeout(10):
        one = Feed(url, Random(1))
        one.follow(Story(journal, "feed", ORDER))
        running = asyncio.create_task(one.run())
        await ended.wait()
        while one.stories:
            await asyncio.sleep(0.01)
        running.cancel()
    assert asked == [[{"orderId": ORDER, "after": 0}], [{"orderId": ORDER, "after": 2, "epoch": 1}]]
    assert [line["message"] for line in written(journal)] == LIFE


@pytest.mark.parametrize("silent", [False, True])
async def test_whoever_comes_back_hears_what_was_rewound_and_waits_for_nobody_who_is_silent(
    journal, monkeypatch, silent
):
    monkeypatch.setattr(feed, "SILENT_S", 0.5)
    stories = [Story(journal, "me", ORDER), Story(journal, "me", OTHER)]
    rewound = {"orderId": ORDER, "rewoundTo": 3, "epoch": 2}

    async def tell(connection):
        assert len(json.loads(await connection.recv())["follow"]) == 2
        for message in (rewound, event(4, "confirmed", epoch=2), {"following": 1}):
            await connection.send(json.dumps(message))
        with suppress(Exception):
            async for _ in connection:
                await connection.send(json.dumps({"following": int(silent)}))

    async with server(tell) as url, asyncio.timeout(10):
        await resume(url, stories)
    assert [line["message"] for line in written(journal)] == [rewound, event(4, "confirmed", epoch=2)]
