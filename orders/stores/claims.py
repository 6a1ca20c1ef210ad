"""Claims: an order is claimed by one worker under a lease, with a fence that proves the claim.

Every move of a claimed order names the fence, until it is submitted.  Moves out of `submitted` name its transaction;
firing, cancellation, expiry and amendment name its status and seq.

A worker renews the leases of its claims periodically (`renew`), so it loses one only if it is frozen, dead or cut off
from Redis.  Orders it cannot continue with it hands back.
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
"""Longest pause before an order that could not be tried is claimed again; it starts at AWAY_MS and doubles."""

ALONE = "orders:alone"
ALONE_WAIT_S = 1.0
"""How long a worker waits for the lock under which it executes an order on its own, outside a batch."""

DOUBTED_MAX = 1_000
"""The most unanswered claims remembered in order to hand them back; the leases of older ones lapse."""

CLAIM = script(epochs.CHECK + PREFIX + lua(LUA / "claim.lua"))
HOLD = script(PREFIX + lua(LUA / "hold.lua"))
HAND_BACK = script(PREFIX + lua(LUA / "hand_back.lua"))


class Claim(msgspec.Struct, frozen=True):
    """One order claimed by this worker: its state, and the fence that proves the claim."""

    order: Order
    status: Status
    seq: int
    attempt: int
    fence: str
    base: int = 0
    """Attempts made before it last rested; they do not count towards MAX_ATTEMPTS."""
    returns: int = 0
    """How often it has triggered and gone back to rest."""
    away: int = 0
    """How often in a row it could not be tried, because a dependency was unavailable."""
    since: int = 0
    """Its time priority in the book, if it waits: epoch milliseconds."""
    trail: tuple[str, ...] = ()
    """The JSON of its events after the first, oldest first."""

    @property
    def tries(self) -> int:
        """Count the attempts since the order last rested, this one included."""
        return self.attempt - self.base

    def after(self, status: Status, events: tuple[str, ...]) -> "Claim":
        """Return the claim as it is after these events."""
        return structs.replace(self, status=status, seq=self.seq + len(events), trail=(*self.trail, *events))


@dataclass(frozen=True, slots=True)
class Claimed:
    """The result of claiming: the claimed orders, and the ids of those that need other handling."""

    claims: list[Claim] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    intended: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    """Orders that may have crashed their workers and must each be executed on their own."""


def claim(order_ids: Sequence[str], *, alone: bool = False) -> Claimed:
    """Claim these orders for this worker, except those finished, submitted, held by another worker or not ready.

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
        # They may be claimed all the same.  A lease that lapses because a store was down must not count as a crash.
        hands.doubt(fence, ids)
        raise


@step("claim", Store.REDIS, "a worker has claimed the order")
def take(epoch: int, fence: str, alone: int, ids: Sequence[str]) -> list[list[str]]:
    answers: list[list[str]] = CLAIM()([], [epoch, fence, settings.ORDER_LEASE_MS, alone, *ids])
    return answers


def read(fence: str, order_id: str, *facts: str) -> Iterator[Claim]:
    """Parse claim.lua's answer for a claimed order; yields nothing if the order cannot be executed."""
    status, seq, attempt, body, base, returns, away = facts
    known = order_codec.loads(body)
    try:
        order = order_codec.to_execute(known)
    except UnknownPair as pair:
        # Pairs are retired by deactivating them.  A deleted pair must not block the other orders of the batch.
        log.error("order skipped, its pair is not in the catalogue", order_id=order_id, pair=str(pair))
        return
    yield Claim(
        order, Status(status), int(seq), int(attempt), fence, int(base), int(returns), int(away), known.since
    )  # fmt: skip


def with_trails(claims: list[Claim]) -> list[Claim]:
    """Add the earlier events to the claims of orders that have any besides the first."""
    moved = [claim for claim in claims if claim.seq > 1]
    found = live.events([claim.order.id for claim in moved], after=1)
    return [structs.replace(claim, trail=tuple(found.get(claim.order.id, ()))) for claim in claims]


def hand_back(claims: Iterable[Claim], *, tried: bool) -> None:
    """Release claims without changing the orders, which can be claimed again after a backoff.

    Orders that have moved on are left alone.  `tried` tells whether a try failed with an error, which counts like a
    worker crash.  An outage does not count, even if Redis is down too: the orders are then handed back as soon as it
    answers.  Raises StoreError.
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


@step("hand-back", Store.REDIS, "the claim is handed back")
def let_go(fence: str, order_ids: Sequence[str], *, tried: bool) -> None:
    """Hand back the orders that are still held under this fence."""
    HAND_BACK()([], [fence, int(tried), AWAY_MS, AWAY_MAX_MS, *order_ids])


def by_fence(claims: Iterable[Claim]) -> dict[str, list[str]]:
    """Group order ids by the fence of their claim."""
    found: dict[str, list[str]] = defaultdict(list)
    for claim in claims:
        found[claim.fence].append(claim.order.id)
    return found


@contextmanager
def alone() -> Iterator[bool]:
    """Hold the lock under which one worker at a time executes an order on its own; False if another has it."""
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
    """The claims this process holds, counted by fence and order: two stages may hold the same order at once."""

    def __init__(self) -> None:
        self.held: Counter[tuple[str, str]] = Counter()
        self.doubted: deque[tuple[str, Sequence[str]]] = deque(maxlen=DOUBTED_MAX)
        self.lock = threading.Lock()

    @contextmanager
    def holding(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Renew the leases of these claims while the context is open."""
        self.take(claims)
        try:
            yield
        finally:
            self.drop(claims)

    def take(self, claims: Sequence[Claim]) -> None:
        """Start renewing the leases of these claims."""
        with self.lock:
            self.held.update((claim.fence, claim.order.id) for claim in claims)

    def drop(self, claims: Sequence[Claim]) -> None:
        """Stop renewing the leases of these claims."""
        with self.lock:
            self.held.subtract((claim.fence, claim.order.id) for claim in claims)
            self.held = +self.held

    def doubt(self, fence: str, order_ids: Sequence[str]) -> None:
        """Remember to hand these orders back once Redis answers: it is unknown whether they were claimed."""
        self.doubted.append((fence, order_ids))

    def let_go_doubted(self) -> None:
        """Hand back the orders of claims that got no answer."""
        while self.doubted:
            fence, ids = self.doubted[0]
            let_go(fence, ids, tried=False)
            self.doubted.popleft()

    def renew(self) -> int:
        """Renew the lease of every held claim; return the number of claims."""
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
"""The claims this process holds."""
