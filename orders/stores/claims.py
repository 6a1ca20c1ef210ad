"""Claims: orders in one worker's hands, under a fence that every later step must name, for as long as a lease runs.

A worker renews the leases of what it has in hand (`renew`, a duty of its own), so only one that is frozen, dead or cut
off loses them; what it could not go on with it hands back.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import uuid4

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError
from msgspec import structs
from redis.exceptions import LockNotOwnedError

from engine.lifecycle import Status
from engine.orders import Order
from orders.stores import live, order_codec
from orders.stores.scripts import LUA, PREFIX
from routing import epochs
from routing.catalogue import UnknownPair
from routing.crashpoints import Store, step
from routing.store import StoreError, lua, redis, script

log = structlog.get_logger(__name__)

AWAY_MS = 250
AWAY_MAX_MS = 4_000
"""Pause before an order that could not be tried is taken up again: twice as long each time, up to this."""

ALONE = "orders:alone"
ALONE_WAIT_S = 1.0
"""How long a worker waits for its turn to carry an order by itself."""

DOUBTED_MAX = 1_000
"""Claims without an answer that are remembered, to be handed back; what was in older ones lapses."""

CLAIM = script(epochs.CHECK + PREFIX + lua(LUA / "claim.lua"))
HOLD = script(PREFIX + lua(LUA / "hold.lua"))
HAND_BACK = script(PREFIX + lua(LUA / "hand_back.lua"))


class Claim(msgspec.Struct, frozen=True):
    """One order in one worker's hands: what is known of it, under the fence that proves the claim."""

    order: Order
    status: Status
    seq: int
    attempt: int
    fence: str
    base: int = 0
    """Attempts made before it last rested; they do not count against those it may make."""
    returns: int = 0
    """How often it has fired in vain."""
    away: int = 0
    """How often in a row it could not be tried, because something was away."""
    since: int = 0
    """Its turn in the book, if it waits: epoch milliseconds."""
    trail: tuple[str, ...] = ()
    """The JSON of its events after the first, oldest first."""

    @property
    def tries(self) -> int:
        """Count the attempts since the order last rested, this one included."""
        return self.attempt - self.base

    def after(self, status: Status, events: tuple[str, ...]) -> "Claim":
        """Return the claim these events later."""
        return structs.replace(self, status=status, seq=self.seq + len(events), trail=(*self.trail, *events))


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of claiming: the orders that are ours, and those that need another door."""

    claims: list[Claim] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    intended: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    """They may be what killed their workers, and must be executed by themselves."""


def claim(order_ids: Sequence[str], *, alone: bool = False) -> Claimed:
    """Take these orders for this worker, each unless it is finished, submitted, held by another or not ready.

    Raises StoreError, DatabaseError.
    """
    fence = uuid4().hex
    ids = list(dict.fromkeys(order_ids))
    try:
        answers = epochs.within(lambda epoch: take(epoch, fence, int(alone), ids))
        found = Claimed()
        for kind, order_id, *facts in answers:
            if kind == "claimed":
                found.claims.extend(read(fence, order_id, *facts))
            else:
                getattr(found, kind).append(order_id)
        return replace(found, claims=with_trails(found.claims))
    except (StoreError, DatabaseError):
        # They may be ours all the same; a lease that lapsed because a store was away must not count as a death.
        hands.doubt(fence, ids)
        raise


@step("claim", Store.REDIS, "a worker has the order in hand")
def take(epoch: int, fence: str, alone: int, ids: Sequence[str]) -> list[list[str]]:
    """Run claim.lua."""
    answers: list[list[str]] = CLAIM()([], [epoch, fence, settings.ORDER_LEASE_MS, alone, *ids])
    return answers


def read(fence: str, order_id: str, *facts: str) -> Iterator[Claim]:
    """Read what claim.lua says of an order that is ours; nothing for one that cannot be executed."""
    status, seq, attempt, body, base, returns, away = facts
    known = order_codec.loads(body)
    try:
        order = order_codec.to_execute(known)
    except UnknownPair as pair:
        # Pairs are retired by making them inactive; its neighbours must not suffer for one that was deleted.
        log.error("order left alone, its pair is gone", order_id=order_id, pair=str(pair))
        return
    yield Claim(
        order, Status(status), int(seq), int(attempt), fence, int(base), int(returns), int(away), known.since
    )  # fmt: skip


def with_trails(claims: list[Claim]) -> list[Claim]:
    """Give claims of orders that moved before the events they already have."""
    moved = [claim for claim in claims if claim.seq > 1]
    found = live.events([claim.order.id for claim in moved], after=1)
    return [structs.replace(claim, trail=tuple(found.get(claim.order.id, ()))) for claim in claims]


def hand_back(claims: Iterable[Claim], *, tried: bool) -> None:
    """Let orders go as they stand, to be taken up again after a pause; those that have moved on are not touched.

    `tried` says whether something was tried and went wrong, which counts like a worker's death; an outage does not,
    also when Redis is away too: then they are handed back as soon as it answers.  Raises StoreError.
    """
    left = by_fence(claims)
    try:
        for fence, ids in left.items():
            let_go(fence, ids, tried=tried)
    except StoreError:
        if not tried:
            for fence, ids in left.items():
                hands.doubt(fence, ids)
        raise


@step("hand-back", Store.REDIS, "the order is handed back as it stands")
def let_go(fence: str, order_ids: Sequence[str], *, tried: bool) -> None:
    """Hand back those of these orders that are in this claim."""
    HAND_BACK()([], [fence, int(tried), AWAY_MS, AWAY_MAX_MS, *order_ids])


def by_fence(claims: Iterable[Claim]) -> dict[str, list[str]]:
    """Group orders by the claim they are in."""
    found: dict[str, list[str]] = defaultdict(list)
    for claim in claims:
        found[claim.fence].append(claim.order.id)
    return found


@contextmanager
def alone() -> Iterator[bool]:
    """Keep every other worker from carrying an order by itself meanwhile; False when another is at that."""
    lock = redis().lock(ALONE, timeout=settings.ORDER_LEASE_MS / 1000, blocking_timeout=ALONE_WAIT_S)
    if not lock.acquire():
        yield False
        return
    try:
        yield True
    finally:
        with suppress(LockNotOwnedError):
            lock.release()


class Hands:
    """What this process has in hand, by fence and order; an order may be in hand at two places on its way."""

    def __init__(self) -> None:
        self.held: Counter[tuple[str, str]] = Counter()
        self.doubted: deque[tuple[str, Sequence[str]]] = deque(maxlen=DOUBTED_MAX)
        self.lock = threading.Lock()

    @contextmanager
    def holding(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Have the leases of these claims renewed meanwhile."""
        self.take(claims)
        try:
            yield
        finally:
            self.drop(claims)

    def take(self, claims: Sequence[Claim]) -> None:
        """Have their leases renewed from now on."""
        with self.lock:
            self.held.update((claim.fence, claim.order.id) for claim in claims)

    def drop(self, claims: Sequence[Claim]) -> None:
        """Have them renewed no longer."""
        with self.lock:
            self.held.subtract((claim.fence, claim.order.id) for claim in claims)
            self.held = +self.held

    def doubt(self, fence: str, order_ids: Sequence[str]) -> None:
        """Hand these orders back as soon as Redis answers: whether they are in hand is not known."""
        self.doubted.append((fence, order_ids))

    def let_go_doubted(self) -> None:
        """Hand back what was claimed without an answer."""
        while self.doubted:
            fence, ids = self.doubted[0]
            let_go(fence, ids, tried=False)
            self.doubted.popleft()

    def renew(self) -> int:
        """Renew every lease in hand; return how many orders that were."""
        self.let_go_doubted()
        with self.lock:
            held = list(self.held)
        fences: dict[str, list[str]] = defaultdict(list)
        for fence, order_id in held:
            fences[fence].append(order_id)
        for fence, ids in fences.items():
            HOLD()([], [fence, settings.ORDER_LEASE_MS, *ids])
        return len(held)


hands = Hands()
"""What this process has in hand."""
