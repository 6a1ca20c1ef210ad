"""Prices are recorded as they were quoted: while nobody watches, and whatever is killed, emptied or started again."""

import threading
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

import httpx
import pytest
from redis.exceptions import RedisError

from tests.flows.tides import tide
from tests.system import eventually, quoted, system

pytestmark = pytest.mark.system

VENUES = ("RAYDIUM", "METEORA")
PAIR = "SOL-USDC"
PRICES = ("150", "163", "159")
EDGE_S = 2
"""Seconds around a kill of which a quote may be missing: the one that was not over, and the one not saved yet."""


class Witness:
    """Writes down every quote it sees in the cache, beside the engine."""

    def __init__(self, engine):
        self.engine, self.seen, self.over = engine, {}, threading.Event()

    @contextmanager
    def watching(self):
        self.over.clear()
        thread = threading.Thread(target=self.watch)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join(10)

    def watch(self):
        store = self.engine.redis()
        while not self.over.wait(0.02):
            for venue in VENUES:
                try:
                    found = store.hmget(f"quotes:{{{PAIR}}}:{venue}", "observed_at", "net_price")
                except RedisError:
                    continue
                if all(found):
                    self.seen[venue, int(found[0])] = Decimal(found[1])


def candles(engine, venue, interval="1s"):
    """Return the recorded candles by the second at which they begin."""
    answer = httpx.get(
        f"{engine.url}/api/candles/{PAIR}", params={"interval": interval, "venue": venue}, headers=engine.headers
    ).json()
    return {int(datetime.fromisoformat(one["at"]).timestamp()): one for one in answer["candles"]}


def newest(engine, venue="BEST"):
    return max(candles(engine, venue), default=0)


def recorded_past(engine, second):
    eventually(lambda: newest(engine) > second, 60, f"prices after {second}")


def test_the_history_is_that_of_the_quotes_over_a_kill_a_loss_and_a_restart_of_everything(tmp_path):
    with system(tide(tmp_path, PRICES, 30)) as engine:
        witness, edges = Witness(engine), []
        quoted(engine)
        with witness.watching():
            recorded_past(engine, newest(engine) + 5)
            edges.append(newest(engine) + 1)
            engine.kill("stream")
            recorded_past(engine, edges[-1] + 5)
            # An emptied Redis takes no recorded second with it.
            engine.redis().flushall()
            recorded_past(engine, newest(engine) + 5)
        edges.append(newest(engine) + 1)
        engine.stop()
        engine.start()
        with witness.watching():
            recorded_past(engine, newest(engine) + 5)
            last = newest(engine)
        witnessed = [key for key in witness.seen if edges[0] - 4 < key[1] // 1000 < last]
        assert len(witnessed) > 30
        kept = {venue: candles(engine, venue) for venue in (*VENUES, "BEST")}
        for venue, at in witnessed:
            second, price = at // 1000, witness.seen[venue, at]
            if any(abs(second - edge) <= EDGE_S for edge in edges):
                continue
            candle = kept[venue][second]
            assert Decimal(candle["low"]) <= price <= Decimal(candle["high"]), (venue, at, price, candle)
        # No price between those that were quoted: a gap has no slope.
        real = set(witness.seen.values())
        every = [one for some in kept.values() for one in some.values()]
        told = {Decimal(one[name]) for one in every for name in ("open", "high", "low", "close")}
        assert len(real) == len(PRICES) * len(VENUES)
        assert told and told <= real
