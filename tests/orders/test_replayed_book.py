"""Limit orders over recorded prices fire as a plain loop over all of them says: which, when, and in which order.

Both sides read the same script.  Within a minute orders are placed, then amended, then cancelled, then those expire
whose time this minute is, and then those fire that the minute's close has reached: the lowest limit first, at a limit
the one longest in the queue.  Another price, or a larger amount, sends an amended order to the back of its queue.

Of the engine all is real that decides: the book and the live state in Redis, the ring and the claim, the judgement of a
price, the rows that cancellations and expiries close.  Not real are the clock, the broker and the quote cache.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count, zip_longest
from random import Random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.amm import ConstantProduct
from engine.event_kinds import Cancelled
from engine.orders import Order, OrderType, TimeInForce
from engine.quotes import Quote
from engine.triggers import Sighting
from orders.flow import dbsync, dispatch, intake, limits, progress, waiting
from orders.flow.intake import NewOrder
from orders.stores import book, live, placing
from routing import epochs
from routing.catalogue import catalogue
from routing.quotes import Cached
from routing.store import redis
from tests.market import MINUTES, START_MS, recorded
from tests.orders.bench import empty_redis

PAIR = "SOL-USDC"
MINUTE_MS = 60_000

POOL = ConstantProduct(10**18, 10**18)

ids = count(1)
"""For the life of the process: rows outlive an example of the property."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order asks for: its limit in cents, an amount, and the minute at which it expires."""

    limit: int
    amount: int
    expires: int | None


@dataclass
class Minute:
    """What people do within one minute."""

    place: dict[int, Terms] = field(default_factory=dict)
    amend: list[tuple[int, str, int | None]] = field(default_factory=list)
    """An order, the field of its terms, its new value."""
    cancel: list[int] = field(default_factory=list)


Script = Mapping[int, Minute]
IDLE = Minute()
Fired = tuple[int, int]
"""A minute, and an order that fired in it."""
Fate = tuple[str, int]
"""How an order ended, and in which minute."""


def script(rng: Random, cents: Sequence[int], orders: int, stay: int) -> Script:
    """Make up orders around the price of the minute they come in; most stay for up to `stay` minutes."""
    minutes: defaultdict[int, Minute] = defaultdict(Minute)
    last = len(cents) - 1
    for number, at in comings(rng, orders, last):
        terms = Terms(near(rng, cents[at]), rng.randint(1, 50), None)
        if rng.random() < 0.85:
            # People say "until the hour", so that many expire together.
            terms = Terms(terms.limit, terms.amount, round_up(at + rng.randint(1, stay), 15))
        minutes[at].place[number] = terms
        for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 2))):
            when = min(last, at + rng.randint(0, stay // 4))
            minutes[when].amend.append((number, *change(rng, terms, cents[when], when, stay)))
        if rng.random() < 0.3:
            minutes[min(last, round_up(at + rng.randint(0, stay // 4), 30))].cancel.append(number)
    return minutes


def comings(rng: Random, orders: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield each order's number and minute: in the order of their coming, now and then many at once."""
    at = sorted(
        rng.randint(0, last) if rng.random() < 0.8 else rng.randint(0, last) // 100 * 100 for _ in range(orders)
    )
    return enumerate(at)


def near(rng: Random, cents: int) -> int:
    """Pick a limit: rarely reached already, often a round one, so that queues form."""
    limit = max(1, cents + round(cents * rng.uniform(-0.002, 0.04)))
    return round_up(limit, 50) if rng.random() < 0.3 else limit


def round_up(number: int, to: int) -> int:
    """Round up to a multiple."""
    return -(-number // to) * to


def change(rng: Random, terms: Terms, cents: int, when: int, stay: int) -> tuple[str, int | None]:
    """Pick what is amended and to what; also to what it is already."""
    match rng.choice(("limit", "limit", "amount", "amount", "expires")):
        case "limit":
            return "limit", rng.choice((near(rng, cents), near(rng, cents), terms.limit))
        case "amount":
            return "amount", rng.randint(1, 50)
        case _:
            return "expires", rng.choice((None, when + rng.randint(1, stay)))


class PlainLoop:
    """The reference: looks at every live order in every minute.  It shares nothing with the engine."""

    def __init__(self) -> None:
        self.live: dict[int, Terms] = {}
        self.turn: dict[int, int] = {}
        self.turns = count()
        self.minute = 0
        self.fired: list[Fired] = []
        self.fates: dict[int, Fate] = {}

    def run(self, cents: Sequence[int], minutes: Script) -> None:
        """Live through these minutes."""
        for self.minute, price in enumerate(cents):
            told = minutes.get(self.minute, IDLE)
            for order, terms in told.place.items():
                self.live[order], self.turn[order] = terms, next(self.turns)
            for order, name, value in told.amend:
                self.amend(order, name, value)
            for order in told.cancel:
                self.end(order, "cancelled")
            for order in [o for o, its in self.live.items() if its.expires is not None and its.expires <= self.minute]:
                self.end(order, "expired")
            reached = [o for o, its in self.live.items() if its.limit <= price]
            for order in sorted(reached, key=lambda o: (self.live[o].limit, self.turn[o])):
                self.fired.append((self.minute, order))
                self.end(order, "triggered")

    def amend(self, order: int, name: str, value: int | None) -> None:
        """Change one of a live order's terms."""
        if before := self.live.get(order):
            after = replace(before, **{name: value})
            if after.limit != before.limit or after.amount > before.amount:
                self.turn[order] = next(self.turns)
            self.live[order] = after

    def end(self, order: int, fate: str) -> None:
        """Take an order out, if it is still there."""
        if self.live.pop(order, None):
            self.fates[order] = (fate, self.minute)


class Replay:
    """Drives the engine's own functions by the replay's clock, and notes whom the order worker is woken for."""

    def __init__(self, minutes: Script) -> None:
        self.minutes = minutes
        self.now = START_MS
        self.minute = 0
        self.price = 0
        self.fired: list[Fired] = []
        self.rung = False
        numbers = [order for told in minutes.values() for order in told.place]
        # Ids sort by time, as the engine's own do.
        self.ids = {order: str(UUID(int=next(ids))) for order in sorted(numbers)}
        self.numbers = {order_id: order for order, order_id in self.ids.items()}

    def run(self, cents: Sequence[int]) -> None:
        """Live through these minutes."""
        with redirected(self):
            self.insert_rows()
            for self.minute, self.price in enumerate(cents):
                self.now = START_MS + self.minute * MINUTE_MS
                self.act()
                while waiting.expire() == waiting.EXPIRED_MAX:
                    pass
                limits.price_changed([PAIR])
                if self.rung:
                    self.rung = False
                    limits.fire(PAIR)

    def insert_rows(self) -> None:
        """Commit all orders at once: in which minute a row was written decides nothing."""
        asked = [NewOrder(self.order(order, terms)) for m in self.minutes.values() for order, terms in m.place.items()]
        for start in range(0, len(asked), 5_000):
            intake.insert(asked[start : start + 5_000])

    def act(self) -> None:
        """Do what people do in this minute; what is amended, each at a later millisecond."""
        told = self.minutes.get(self.minute)
        if not told:
            return
        at = datetime.fromtimestamp(self.now / 1000, UTC)
        epoch = epochs.recent()
        placing.place(intake.placement(self.order(order, terms), at, epoch) for order, terms in told.place.items())
        for order, name, value in told.amend:
            self.now += 1
            self.amend(order, name, value)
        self.cancel(told.cancel)

    def order(self, order: int, terms: Terms) -> Order:
        """Make the engine's order."""
        pair = catalogue().pair(PAIR)
        asked = Order(self.ids[order], OrderType.LIMIT, pair, 0, 50)
        for name in ("limit", "amount", "expires"):
            asked = with_term(asked, name, getattr(terms, name))
        return asked

    def amend(self, order: int, name: str, value: int | None) -> None:
        """Amend as `waiting.amend` does, but for the row."""
        one = live.standing([self.ids[order]])[self.ids[order]]
        after = with_term(one.order, name, value)
        if one.status == "pending" and after != one.order:
            assert progress.advance([waiting.amendment(one, after)])

    def cancel(self, orders: Sequence[int]) -> None:
        """Cancel as `waiting.cancel_all` does: those that still wait, in one step."""
        standing = live.standing([self.ids[order] for order in orders]).values()
        progress.advance([waiting.cancellation(one, Cancelled("")) for one in standing if one.status == "pending"])

    def send(self, task: str, order_ids: Sequence[str] = (), pairs: Sequence[str] = ()) -> bool:
        """Stand in for the broker."""
        if task == dispatch.EXECUTE:
            self.fired += [(self.minute, self.numbers[order_id]) for order_id in order_ids]
        self.rung = self.rung or task == dispatch.FIRE
        return True

    def sight(self, pairs: Sequence[str]) -> dict[str, Sighting]:
        """Judge the minute's close as if a venue without a fee had quoted it just now."""
        quote = Quote("METEORA", PAIR, Decimal(self.price).scaleb(-2), 0, POOL, self.now, self.now)
        return {PAIR: limits.judged(PAIR, Cached((quote,), quote), self.now)}

    def fates(self) -> dict[int, Fate]:
        """Return how each order ended, from the engine's own last events."""
        found = {}
        for start in range(0, len(self.ids), 5_000):
            last = live.last_events(list(self.ids.values())[start : start + 5_000])
            found |= {self.numbers[i]: (e["status"], minute_of(e["at"])) for i, e in last.items()}
        return {order: fate for order, fate in found.items() if fate[0] != "pending"}


def with_term(order: Order, name: str, value: int | None) -> Order:
    """Give an engine's order one of the script's terms, as the API would."""
    match name:
        case "limit":
            return replace(order, limit_price=Decimal(value).scaleb(-2))
        case "amount":
            return replace(order, amount_in=value * 10**9)
        case _ if value is None:
            return replace(order, expires_at=None, time_in_force=TimeInForce.GTC)
        case _:
            return replace(order, expires_at=START_MS + value * MINUTE_MS, time_in_force=TimeInForce.GTD)


def minute_of(at: str) -> int:
    """Return the replay's minute of an event."""
    return int(datetime.fromisoformat(at).timestamp() * 1000 - START_MS) // MINUTE_MS


@contextmanager
def redirected(replay: Replay) -> Iterator[None]:
    """Let the engine read the replay's clock and prices, and wake nobody but the replay."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (waiting, limits, progress):
            patch.setattr(module, "now_ms", lambda: replay.now)
        patch.setattr(limits, "sight", replay.sight)
        patch.setattr(dispatch, "send", replay.send)
        patch.setattr(dbsync, "nudge", lambda: None)
        yield


def compare(cents: Sequence[int], minutes: Script) -> PlainLoop:
    """Hold the engine to the reference over these minutes; return the reference."""
    # In the end a price above every limit empties the book: who was left fires then, in order, and nobody else.
    cents = [*cents, 10**9]
    plain, replay = PlainLoop(), Replay(minutes)
    plain.run(cents, minutes)
    replay.run(cents)
    assert first_difference(replay.fired, plain.fired) is None
    assert first_difference(sorted(replay.fates().items()), sorted(plain.fates.items())) is None
    assert book.pairs() == []
    assert redis().keys("limit*") == []
    return plain


def first_difference(engines: Sequence[object], expected: Sequence[object]) -> tuple[int, object, object] | None:
    """Return where two long lists first differ: pytest would compare all of them line by line."""
    pairs = enumerate(zip_longest(engines, expected))
    return next(((at, ours, theirs) for at, (ours, theirs) in pairs if ours != theirs), None)


@pytest.mark.parametrize("orders", [5_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_orders_over_all_recorded_minutes_fire_when_and_in_the_order_a_plain_loop_says(bench, orders):
    cents = [int(closed * 100) for _, closed in recorded()]
    plain = compare(cents, script(Random(20_000), cents, orders, stay=900))
    # The script is worth its name: every ending is frequent, and many minutes fire more than one order.
    kinds = [fate for fate, _ in plain.fates.values()]
    assert len(cents) == MINUTES and len(kinds) == orders
    assert min(kinds.count(kind) for kind in ("triggered", "expired", "cancelled")) > orders // 20
    assert len(plain.fired) - len({minute for minute, _ in plain.fired}) > orders // 20


@hypothesis_settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    orders=st.integers(1, 300),
    ticks=st.integers(1, 50),
    jump=st.sampled_from((1, 20, 300, 5_000)),
    claim_max=st.sampled_from((1, 3, book.CLAIM_MAX)),
)
def test_orders_over_a_random_walk_with_jumps_fire_when_and_in_the_order_a_plain_loop_says(
    bench, seed, orders, ticks, jump, claim_max
):
    empty_redis()
    rng = Random(seed)
    cents = [15_000]
    for _ in range(ticks - 1):
        cents.append(max(1, cents[-1] + rng.randint(-jump, jump) * rng.choice((1, 1, 1, 10))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "CLAIM_MAX", claim_max)
        compare(cents, script(rng, cents, orders, stay=rng.choice((5, 60))))
