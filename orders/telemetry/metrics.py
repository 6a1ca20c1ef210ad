"""Every metric of the engine, and the hooks that update them.

Each process counts for itself, in PROCESS. The gauges of what the stores hold, in READ, are read at each scrape by
orders/operations/scrape.py.
Counters start at 0 with their process, as Prometheus expects.
"""

import time
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple, Protocol
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily

from engine.event_kinds import Confirmed, Facts, Failed, Retry, Returned, Routing
from engine.lifecycle import FINAL, Status
from engine.orders import OrderType

# The `_created` series, with the time each counter started, are not used here.
disable_created_metrics()  # type: ignore[no-untyped-call]

PROCESS = CollectorRegistry()
"""What this process has counted, and its resource usage."""
ProcessCollector(registry=PROCESS)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram buckets for order times."""
FAST_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.0)
"""Upper bounds of the histogram buckets for a store's round trip, which is limited to 2 s."""


class Read(NamedTuple):
    """A gauge that is read at each scrape."""

    about: str
    labels: tuple[str, ...] = ()


READ = {
    "engine_up": Read("Whether this part could be read for this scrape.", ("part",)),
    "engine_queue_depth": Read("Wake-ups that no worker has taken yet.", ("queue",)),
    "engine_queue_age_seconds": Read("How long the oldest of these has waited; 0 for none.", ("queue",)),
    "engine_workers_alive": Read("Worker processes with a recent heartbeat.", ("queue",)),
    "engine_orders_open": Read("Unfinished orders that do not rest."),
    "engine_orders_overdue_seconds": Read("How long the most overdue of these has been due."),
    "engine_attempts_open": Read("Signed transactions the chain has not decided."),
    "engine_dbsync_backlog_entries": Read("Entries of the event feed not yet written to Postgres."),
    "engine_dbsync_backlog_seconds": Read("Age of the oldest of these entries."),
    "engine_quote_age_seconds": Read("Age of a venue's last quote of an active pair.", ("pair", "venue")),
    "engine_venue_breaker_open": Read("Whether a venue's breaker is open: 1 while it fails too often.", ("venue",)),
    "engine_resting_orders": Read("Orders that wait for their price or their event, as saved in Postgres.", ("pair",)),
    "engine_webhook_lag_seconds": Read("Age of the oldest event that an active webhook has still to be sent."),
    "engine_webhooks_failed": Read("Webhooks that were given up."),
    "engine_oldest_moving_order_seconds": Read("Age of the oldest unfinished order that does not rest, in Postgres."),
}
"""The gauges that orders/operations/scrape.py reads."""

Sample = tuple[str, tuple[str, ...], float]
"""A name in READ, its label values, and the value read."""

ACCEPTED = Counter("engine_orders_accepted_total", "Orders committed, by type.", ("type",), registry=PROCESS)
ORDERS = Counter(
    "engine_orders_total",
    "Moves of orders to a status; to pending when one is amended or rests again.",
    ("type", "status"),
    registry=PROCESS,
)
ROUTES = Counter("engine_routes_total", "Routing decisions, by the venue that won.", ("venue",), registry=PROCESS)
FILLS = Counter("engine_fills_total", "Orders confirmed, by venue.", ("venue",), registry=PROCESS)
FAILURES = Counter("engine_failures_total", "Orders failed for good, by code.", ("code",), registry=PROCESS)
RETRIES = Counter("engine_retries_total", "Failed tries that are retried, by code.", ("code",), registry=PROCESS)
RETURNS = Counter("engine_returns_total", "Orders that fired unfilled and rest again.", ("code",), registry=PROCESS)
REJECTED = Counter("engine_rejected_total", "Orders beyond a trading limit, by code.", ("code",), registry=PROCESS)
DEAD_LETTERS = Counter("engine_dead_letters_total", "Dead letters kept, by code.", ("code",), registry=PROCESS)
LIMIT_TRIGGERS = Counter("engine_limit_triggers_total", "Limit orders that fired.", registry=PROCESS)
SNIPER_FIRED = Counter("engine_sniper_fired_total", "Sniper orders that fired.", registry=PROCESS)
SNIPER_REFUSED = Counter("engine_sniper_refused_total", "Sniper orders that fired and were refused.", registry=PROCESS)
RESTORED = Counter(
    "engine_orders_restored_total", "Live orders restored from Postgres, by reason.", ("reason",), registry=PROCESS
)
BOOK_REPAIRED = Counter("engine_book_repaired_total", "Repairs to the book, by kind.", ("kind",), registry=PROCESS)
BALANCES_WRONG = Counter(
    "engine_balances_wrong_total",
    "Balances and positions that differed from the ledger when compared.",
    registry=PROCESS,
)
VENUES_TRIPPED = Counter(
    "engine_venues_tripped_total", "Venues that the engine paused, by venue.", ("venue",), registry=PROCESS
)
SET_ASIDE = Counter("engine_set_aside_total", "Records of the feed that could not be written.", registry=PROCESS)
DBSYNC_LAG = Histogram(
    "engine_dbsync_lag_seconds",
    "From the oldest event of a batch to its row being committed.",
    buckets=SECONDS,
    registry=PROCESS,
)
WEBHOOKS = Counter("engine_webhook_deliveries_total", "Calls of webhooks, by outcome.", ("outcome",), registry=PROCESS)
SPANS = Counter("engine_trace_spans_total", "Trace spans, by outcome.", ("outcome",), registry=PROCESS)
WEBSOCKETS = Gauge("engine_websocket_clients", "Open sockets, by stream.", ("stream",), registry=PROCESS)
ROUND_TRIP = Histogram(
    "engine_store_round_trip_seconds",
    "A small request to a store, sampled: with each heartbeat and each scrape.",
    ("store",),
    buckets=FAST_S,
    registry=PROCESS,
)


STAGES = Histogram(
    "engine_order_stage_seconds",
    "Time orders spent in a status before the next; resting is not counted.",
    ("stage",),
    buckets=SECONDS,
    registry=PROCESS,
)
LIVES = Histogram(
    "engine_order_seconds",
    "Time from acceptance, or from firing, to an order's end, by outcome.",
    ("status",),
    buckets=SECONDS,
    registry=PROCESS,
)


@cache
def child(counter: Counter, *labels: str) -> Counter:
    """Return the counter with these labels; cached, because finding it costs more than counting."""
    return counter.labels(*labels) if labels else counter


@cache
def timer(histogram: Histogram, *labels: str) -> Histogram:
    """Return the histogram with these labels; cached for the same reason."""
    return histogram.labels(*labels)


Steps = Sequence[Facts]
"""The events of one move of an order."""
Counted = tuple[Counter, *tuple[str, ...]]
"""A counter and its label values."""


def count(found: Iterable[Counted]) -> None:
    """Increment each counter once, by the number of times it occurs."""
    for (counter, *labels), times in Tally(found).items():
        child(counter, *labels).inc(times)


def moved(moves: Iterable[tuple[OrderType, Steps]]) -> None:
    """Count the statuses that orders of these types went through."""
    count(one for kind, steps in moves for one in counted(kind, steps))


def counted(kind: OrderType, steps: Steps) -> Iterator[Counted]:
    """Yield the counters that one order's move increments."""
    for facts in steps:
        yield ORDERS, kind, facts.status
        yield from stated(facts)
    if steps[0].status is Status.TRIGGERED:
        yield (LIMIT_TRIGGERS,) if kind is OrderType.LIMIT else (sniped(steps[-1].status),)


def sniped(end: Status) -> Counter:
    """Return the counter for a triggered sniper order: refused if it failed, fired otherwise."""
    return SNIPER_REFUSED if end is Status.FAILED else SNIPER_FIRED


def stated(facts: Facts) -> Iterator[Counted]:
    """Yield the counters that the facts of one event increment."""
    match facts:
        case Confirmed():
            yield FILLS, facts.venue
        case Failed():
            yield FAILURES, facts.code
        case Retry():
            yield RETRIES, facts.retry.code
        case Returned():
            yield RETURNS, facts.returned.code
        case Routing():
            yield ROUTES, facts.venue


def accepted(kinds: Iterable[OrderType]) -> None:
    """Count orders whose rows have been committed."""
    count((ACCEPTED, kind) for kind in kinds)


def rejected(codes: Iterable[str]) -> None:
    """Count orders beyond a trading limit."""
    count((REJECTED, code) for code in codes)


def dead_letters(codes: Iterable[str]) -> None:
    """Count new dead letters."""
    count((DEAD_LETTERS, code) for code in codes)


def spans(outcome: str, number: int) -> None:
    """Count spans that were sent, or dropped because the collector did not take them."""
    child(SPANS, outcome).inc(number)


def webhook(outcome: str) -> None:
    """Count a call of a webhook."""
    child(WEBHOOKS, outcome).inc()


def restored(reason: str, number: int) -> None:
    """Count live orders that were restored from Postgres."""
    if number:
        child(RESTORED, reason).inc(number)


def repaired(kinds: Mapping[str, int]) -> None:
    """Count reconciliation's repairs by kind."""
    for kind, times in kinds.items():
        child(BOOK_REPAIRED, kind).inc(times)


def balances_wrong(count: int) -> None:
    """Count balances and positions that differ from the ledger."""
    BALANCES_WRONG.inc(count)


def venue_tripped(venue: str) -> None:
    """Count a venue that the engine has paused."""
    child(VENUES_TRIPPED, venue).inc()


class Event(Protocol):
    """An event as DBSync reads it, used for timing; an order's first event names its type."""

    order_id: UUID
    seq: int
    status: Status
    at: datetime
    type: str | None


@dataclass(slots=True)
class Life:
    """An order's last event, and since when it has been active: `began` is None while it rests."""

    seq: int
    status: Status
    at: datetime
    began: datetime | None


class Stopwatch:
    """Times orders by their events' timestamps: those of the store's clock, as sent to clients.

    It remembers the `most` orders seen last. An event that arrives twice counts once. An event whose predecessor was
    not seen here does not count.
    """

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self.lives: OrderedDict[UUID, Life] = OrderedDict()

    def see(self, event: Event, *, rests: bool) -> None:
        """Take one event into account; `rests` tells whether the order rests from then on."""
        life = self.lives.get(event.order_id)
        if life is None:
            self.remember(event, None if rests else event.at)
        elif event.seq > life.seq:
            self.step(life, event, rests=rests)
            self.lives.move_to_end(event.order_id)

    def remember(self, event: Event, began: datetime | None) -> None:
        """Start with an order; only its first event, or its trigger, tells when it became active."""
        known = event.seq == 1 or event.status is Status.TRIGGERED
        self.lives[event.order_id] = Life(event.seq, event.status, event.at, began if known else None)
        if len(self.lives) > self.most:
            self.lives.popitem(last=False)

    def step(self, life: Life, event: Event, *, rests: bool) -> None:
        """Time the stage that this event ends, and the order as a whole if the event is its last."""
        if event.seq == life.seq + 1 and (life.began or life.status is not Status.PENDING):
            timer(STAGES, life.status).observe((event.at - life.at).total_seconds())
        if event.status is Status.TRIGGERED:
            life.began = event.at
        elif rests:
            life.began = None
        if event.status in FINAL and life.began:
            timer(LIVES, event.status).observe((event.at - life.began).total_seconds())
        life.seq, life.status, life.at = event.seq, event.status, event.at


stopwatch = Stopwatch()


def archived(events: Sequence[Event], now_ms: int, refused: int) -> None:
    """Time a batch of written events and how long its oldest waited; count the records that were refused."""
    for event in events:
        stopwatch.see(event, rests=event.status is Status.PENDING and event.type != OrderType.MARKET)
    if events:
        DBSYNC_LAG.observe(max(0.0, now_ms / 1000 - min(event.at for event in events).timestamp()))
    SET_ASIDE.inc(refused)


@contextmanager
def socket(stream: str) -> Iterator[None]:
    """Count a client's socket while it is open."""
    clients = WEBSOCKETS.labels(stream)
    clients.inc()
    try:
        yield
    finally:
        clients.dec()


@contextmanager
def round_trip(store: str) -> Iterator[None]:
    """Time one small request to a store; a failed request is not recorded."""
    began = time.perf_counter()
    yield
    timer(ROUND_TRIP, store).observe(time.perf_counter() - began)


def families(samples: Iterable[Sample]) -> Iterator[GaugeMetricFamily]:
    """Return the samples as Prometheus metric families."""
    made: dict[str, GaugeMetricFamily] = {}
    for name, labels, value in samples:
        if name not in made:
            made[name] = GaugeMetricFamily(name, READ[name].about, labels=READ[name].labels)
        made[name].add_metric(labels, value)
    yield from made.values()
