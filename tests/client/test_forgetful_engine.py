"""The client before an engine that loses part of its history: what is withdrawn is said, and the end always comes."""

from collections import deque

import pytest
from hypothesis import example, given

from orders.client import Backoff, Client, Event, Rewound
from orders.client.events import event_of
from tests.client.forgetful import (
    ID,
    REASON,
    RESTARTING,
    SCRIPTS,
    SEEN,
    Cut,
    End,
    Forgetful,
    Happen,
    Lose,
    RewindAgain,
    Send,
    Skip,
    served,
)

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


class Consumer:
    """Does all that a consumer must: drops what is withdrawn, and takes what follows."""

    def __init__(self):
        self.held, self.rewinds = [], []

    async def follow(self, url, **cursor):
        async with Client(url, backoff=Backoff(0.001, 0.002)) as client:
            async for message in client.follow(ID, **cursor, within_s=WITHIN_S):
                self.hear(message)
        return self

    def hear(self, message):
        match message:
            case Rewound(to=to):
                assert 1 <= to < len(self.held), "a rewind that withdraws nothing is none"
                self.rewinds.append(message)
                del self.held[to:]
            case Event(seq=seq):
                assert seq == len(self.held) + 1, "the next"
                self.held.append(message)

    @property
    def raw(self):
        return [event.raw for event in self.held]


async def followed(server, *script):
    """Follow an order through a script; return its engine, and what its consumer has in the end."""
    server.engine = Forgetful(deque(script))
    return server.engine, await Consumer().follow(server.url)


@given(SCRIPTS)
@example([*SEEN, Cut(RESTARTING), Lose(1), Happen(), End()])
@example([*SEEN, Lose(1), Happen(), Send(), RewindAgain(), Happen(), End()])
@example([*SEEN, Lose(3), Happen(), Skip(), Lose(2, 1), Send(), Send(), End()])
async def test_whoever_drops_what_is_withdrawn_ends_with_exactly_the_engines_history(server, script):
    engine, consumer = await followed(server, *script)
    assert consumer.raw == engine.history
    assert consumer.held[-1].final


async def test_a_rewind_in_mid_stream_is_told_with_its_reason_and_followed_by_what_counts(server):
    engine, consumer = await followed(server, *SEEN, Lose(2), Happen(), Send(), End())
    (rewind,) = consumer.rewinds
    assert (rewind.order_id, rewind.to, rewind.epoch, rewind.reason) == (ID, 2, 2, REASON)
    assert rewind.facts == {}
    assert [(event.seq, event.epoch) for event in consumer.held] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert engine.asked == [(0, 0)]


async def test_a_stream_is_taken_up_by_seq_and_epoch_also_where_it_was_rewound(server):
    engine, consumer = await followed(server, *SEEN, Cut(RESTARTING), Lose(1), Cut(RESTARTING), Happen(), Send(), End())
    assert engine.asked == [(0, 0), (3, 1), (1, 2)]
    assert [rewind.to for rewind in consumer.rewinds] == [1]
    assert consumer.raw == engine.history


def held_of(server, *script):
    """Have a consumer that was told three events by an earlier call; return the engine, and what comes next to it."""
    server.engine = Forgetful(deque(script))
    server.engine.go(Happen())
    server.engine.go(Happen())
    consumer = Consumer()
    consumer.held = list(map(event_of, server.engine.history))
    return server.engine, consumer


async def test_what_an_earlier_call_yielded_is_taken_back_by_the_cursor_it_ended_with(server):
    engine, consumer = held_of(server, Lose(2), Happen(), End())
    await consumer.follow(server.url, after=3, epoch=1)
    assert [rewind.to for rewind in consumer.rewinds] == [2]
    assert consumer.raw == engine.history


async def test_what_still_counts_is_not_told_again_to_whoever_gives_its_epoch(server):
    engine, consumer = held_of(server, Lose(3), Happen(), End())
    await consumer.follow(server.url, after=3, epoch=1)
    assert consumer.rewinds == []
    assert consumer.raw == engine.history


async def test_without_an_epoch_all_that_may_have_been_replaced_is_taken_back_and_told_again(server):
    engine, consumer = held_of(server, End())
    await consumer.follow(server.url, after=3)
    assert [rewind.to for rewind in consumer.rewinds] == [1]
    assert consumer.raw == engine.history
