"""Asking venues: many questions in flight, none piling up, no venue waiting for another."""

import asyncio
import threading
from concurrent.futures import wait
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.quotes import Pair, Quote
from routing import asking, quotes, wiring
from routing.asking import Asker
from routing.store import StoreError, now_ms, redis
from routing.venues import Silence, VenueDown
from tests.orders.bench import TOKENS
from tests.system import eventually

SOL_USDC = Pair(TOKENS["SOL"], TOKENS["USDC"])
JUP_USDC = Pair(TOKENS["JUP"], TOKENS["USDC"])


class FakeVenue:
    """Answers when the test says so."""

    def __init__(self, name, bench, answer=None):
        self.name, self.bench, self.answer = name, bench, answer
        self.open = 0
        self.asked = []
        self.gates = []

    async def quote(self, pair):
        self.asked.append(pair.name)
        self.open += 1
        try:
            if self.answer is None:
                gate = asyncio.Event()
                self.gates.append(gate)
                await gate.wait()
            elif isinstance(self.answer, Exception):
                raise self.answer
            elif isinstance(self.answer, Quote):
                return self.answer
            return await asyncio.to_thread(self.bench.quote, self.name, 0, pair)
        finally:
            self.open -= 1

    def let_one_go(self):
        asking.loop().call_soon_threadsafe(self.gates.pop(0).set)


def settled():
    """Let everything the loop has begun come to rest."""
    for _ in range(5):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), asking.loop()).result(5)


@pytest.fixture
def silent(bench):
    return FakeVenue("RAYDIUM", bench)


@pytest.fixture
def prompt(bench):
    return FakeVenue("METEORA", bench, answer="at once")


def names(answers):
    return [answer.venue for answer in answers if isinstance(answer, Quote)]


def test_both_venues_are_asked_at_once(bench):
    venues = FakeVenue("RAYDIUM", bench), FakeVenue("METEORA", bench)
    future = Asker(venues, 5_000, 500).ask(SOL_USDC)
    eventually(lambda: [venue.open for venue in venues] == [1, 1], 5, "both are asked before either has answered")
    for venue in venues:
        venue.let_one_go()
    assert names(future.result(5)) == ["RAYDIUM", "METEORA"]


def test_every_answer_goes_into_the_cache(bench, prompt):
    Asker([prompt], 5_000, 500).ask(JUP_USDC).result(5)
    assert quotes.cached(["JUP-USDC"])["JUP-USDC"].best.venue == "METEORA"


def test_callers_who_ask_while_the_question_is_open_share_its_answer(silent):
    asker = Asker([silent], 5_000, 500)
    futures = [asker.ask(SOL_USDC) for _ in range(10)]
    eventually(lambda: silent.open == 1, 5, "the venue is asked")
    silent.let_one_go()
    assert all(names(future.result(5)) == ["RAYDIUM"] for future in futures)
    assert silent.asked == ["SOL-USDC"]


def test_a_question_put_after_the_answer_is_a_new_one(prompt):
    asker = Asker([prompt], 5_000, 500)
    for _ in range(2):
        asker.ask(SOL_USDC).result(5)
        eventually(lambda: not asker.direct, 5, "the question is closed")
    assert prompt.asked == ["SOL-USDC"] * 2


def test_different_pairs_are_different_questions(prompt):
    asker = Asker([prompt], 5_000, 500)
    wait([asker.ask(SOL_USDC), asker.ask(JUP_USDC)], 5)
    assert sorted(prompt.asked) == ["JUP-USDC", "SOL-USDC"]


def test_a_venue_that_never_answers_is_taken_for_down(silent, prompt):
    future = Asker([silent, prompt], 50, 500).ask(SOL_USDC)
    assert names(future.result(5)) == ["METEORA"]
    assert silent.open == 0


@pytest.mark.parametrize("fault", [VenueDown("refused"), ValueError("nonsense")], ids=["down", "nonsense"])
def test_a_venue_that_fails_does_not_take_the_others_quote_away(bench, prompt, fault):
    broken = FakeVenue("RAYDIUM", bench, answer=fault)
    assert names(Asker([broken, prompt], 5_000, 500).ask(SOL_USDC).result(5)) == ["METEORA"]


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-Infinity", "1e24"])
def test_a_price_that_cannot_be_is_no_quote_and_is_not_kept(bench, prompt, price):
    garbled = replace(bench.quote("RAYDIUM"), price=Decimal(price))
    redis().delete(quotes.key("SOL-USDC", "RAYDIUM"))
    broken = FakeVenue("RAYDIUM", bench, answer=garbled)
    answers = Asker([broken, prompt], 5_000, 500).ask(SOL_USDC).result(5)
    assert names(answers) == ["METEORA"] and "which is no price" in answers[0].reason
    assert [quote.venue for quote in quotes.cached(["SOL-USDC"])["SOL-USDC"].quotes] == ["METEORA"]


def test_with_every_venue_down_the_answer_is_empty(bench):
    down = [FakeVenue(name, bench, answer=VenueDown("refused")) for name in ("RAYDIUM", "METEORA")]
    answers = Asker(down, 5_000, 500).ask(SOL_USDC).result(5)
    assert answers == [Silence("RAYDIUM", "refused"), Silence("METEORA", "refused")]


def test_a_dead_venue_does_not_slow_the_polls_of_the_other(silent, prompt):
    asker = Asker([silent, prompt], 60_000, 500)
    for count in range(1, 6):
        asker.poll([SOL_USDC])
        eventually(lambda n=count: len(prompt.asked) == n and not prompt.open, 5, "the other answers")
    assert silent.open == 5


def test_polls_overlap_though_answers_take_longer_than_the_interval(silent):
    asker = Asker([silent], 5_000, 500)
    for _ in range(3):
        asker.poll([SOL_USDC])
    eventually(lambda: silent.open == 3, 5, "three questions are open at once")


def test_a_venue_that_never_answers_has_only_so_many_questions_open(silent):
    asker = Asker([silent], 2_000, 500)
    for _ in range(20):
        asker.poll([SOL_USDC])
    settled()
    assert silent.open == asker.in_flight_max == 5
    silent.let_one_go()
    eventually(lambda: silent.open == 4, 5, "one has its answer")
    eventually(lambda: asker.in_flight["RAYDIUM", "SOL-USDC"] == 4, 5, "and counts no more")
    asker.poll([SOL_USDC])
    eventually(lambda: silent.open == 5, 5, "another is put")


def test_polls_that_come_together_do_not_exceed_the_limit(silent):
    asker = Asker([silent], 2_000, 500)
    held = threading.Event()
    # The loop is busy while twenty polls queue up.
    asking.loop().call_soon_threadsafe(held.wait, 5)
    for _ in range(20):
        asker.poll([SOL_USDC])
    held.set()
    settled()
    assert silent.open == 5


def test_one_pairs_open_questions_do_not_hold_up_another_pair(silent):
    asker = Asker([silent], 500, 500)
    for _ in range(5):
        asker.poll([SOL_USDC])
    asker.poll([JUP_USDC])
    eventually(lambda: "JUP-USDC" in silent.asked, 5, "the other pair is asked for")


def test_an_answer_serves_its_order_though_the_cache_is_away(prompt, monkeypatch):
    def away(_):
        raise StoreError("away")

    monkeypatch.setattr(asking.quotes, "store_all", away)
    monkeypatch.setattr(prompt.bench, "quote", lambda venue, age, pair: uncached(venue))
    assert names(Asker([prompt], 5_000, 500).ask(SOL_USDC).result(5)) == ["METEORA"]


def uncached(venue):
    pool = wiring.market().pool(venue, SOL_USDC, now_ms())
    return Quote(venue, "SOL-USDC", pool.spot(SOL_USDC.token_in, SOL_USDC.token_out), 20, pool, now_ms(), now_ms())


def test_answers_that_arrive_together_are_cached_in_one_round_trip(bench, monkeypatch):
    quoted = [bench.quote(name) for name in ("RAYDIUM", "METEORA")]
    redis().flushdb()
    calls, stored = [], []
    real = quotes.store_all
    monkeypatch.setattr(quotes, "store_all", lambda found: calls.append(len(found)) or real(found))
    asker = Asker([FakeVenue(one.venue, bench, one) for one in quoted], 5_000, 500)
    asker.stored.append(stored.append)
    assert asker.ask(SOL_USDC).result(5) == quoted
    assert calls == [2] and [one.quote for one in stored] == quoted
    assert set(quotes.cached(["SOL-USDC"])["SOL-USDC"].quotes) == set(quoted)
