"""Metrics of what the stores hold, read at each scrape: each part separately, within a time limit.

A part that fails or takes too long reports `engine_up{part} 0` and nothing else; it does not delay the others.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache

import structlog
from django.db import close_old_connections, connection
from django.db.models import Count, F
from django.db.models.functions import Now
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from orders import models
from orders.flow import dbsync, dispatch
from orders.operations import heartbeats
from orders.stores import live, webhooks
from orders.telemetry import metrics
from orders.telemetry.metrics import Sample
from routing import outages, quotes
from routing.catalogue import catalogue
from routing.store import now_ms, redis
from routing.venues import VENUES

log = structlog.get_logger(__name__)

WITHIN_S = 1.0
"""How long a scrape waits for the stores."""
KEEP_S = 60.0
"""Maximum age of an earlier reading that may stand in for one that takes longer."""
COUNT_EVERY_S = 15.0
"""Minimum time between two counts of the resting orders, of which there may be a million."""


@dataclass
class Part:
    """A group of metrics that is read together: one read at a time, and not again within `every_s`."""

    name: str
    look: Callable[[], list[Sample]]
    every_s: float = 0.0
    reading: list[Sample] = field(default_factory=list)
    read_at: float = float("-inf")
    looking: "Future[None] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self) -> "Future[None] | None":
        """Start a read, unless one is running or the last is recent enough; return the future to wait for."""
        with self.lock:
            idle = self.looking is None or self.looking.done()
            if idle and time.monotonic() - self.read_at >= self.every_s:
                self.looking = threads().submit(self.read)
            return self.looking

    def read(self) -> None:
        """Read, and keep the result."""
        try:
            self.reading, self.read_at = self.look(), time.monotonic()
        except Exception as reason:
            # Any error means that the part could not be read; the scrape reports that.
            self.read_at = float("-inf")
            log.warning("metrics part not read", part=self.name, reason=repr(reason))
        finally:
            close_old_connections()

    def said(self, asked_at: float) -> list[Sample]:
        """Return the samples read since `asked_at`, or recently enough; otherwise only `engine_up 0`."""
        fresh = self.read_at >= asked_at or (self.every_s and asked_at - self.read_at <= KEEP_S)
        return [*(self.reading if fresh else ()), ("engine_up", (self.name,), float(bool(fresh)))]


def look_at_redis() -> list[Sample]:
    """Read the live workers, open orders and attempts, and DBSync's backlog."""
    with metrics.round_trip("redis"):
        redis().ping()
    load = live.load(now_ms())
    return [
        *(("engine_workers_alive", (queue,), count) for queue, count in heartbeats.alive().items()),
        ("engine_orders_open", (), load.orders),
        ("engine_orders_overdue_seconds", (), load.overdue_ms / 1000),
        ("engine_attempts_open", (), load.attempts),
        ("engine_dbsync_backlog_entries", (), dbsync.backlog()),
        ("engine_dbsync_backlog_seconds", (), dbsync.behind_ms() / 1000),
    ]


def look_at_queues() -> list[Sample]:
    """Read the depth of each queue, and the age of its oldest message where it is known."""
    ages = dispatch.ages_ms().items()
    return [
        *(("engine_queue_depth", (queue,), depth) for queue, depth in dispatch.depths().items()),
        *(("engine_queue_age_seconds", (queue,), age / 1000) for queue, age in ages if age is not None),
    ]


def look_at_postgres() -> list[Sample]:
    """Read the age of the oldest unfinished order that does not rest: one step along an index."""
    with connection.cursor() as cursor, metrics.round_trip("postgres"):
        cursor.execute("SELECT 1")
    moving = models.Order.objects.filter(models.MOVING).annotate(age=Now() - F("created_at"))
    age = moving.order_by("created_at").values_list("age", flat=True).first()
    return [("engine_oldest_moving_order_seconds", (), age.total_seconds() if age else 0.0)]


def look_at_quotes() -> list[Sample]:
    """Read the age of each venue's last quotes, and whose breaker is open."""
    cached, now = quotes.cached(catalogue().active), now_ms()
    failing = outages.failing()
    return [
        *(("engine_venue_breaker_open", (venue,), float(venue in failing)) for venue in VENUES),
        *(
            ("engine_quote_age_seconds", (name, quote.venue), max(0, quote.age(now)) / 1000)
            for name, known in cached.items()
            for quote in known.quotes
        ),
    ]


def look_at_webhooks() -> list[Sample]:
    """Read how far active webhooks are behind, and how many were given up."""
    failed = models.Webhook.objects.filter(state=models.WebhookState.FAILED).count()
    return [
        ("engine_webhook_lag_seconds", (), webhooks.longest_lag_s()),
        ("engine_webhooks_failed", (), failed),
    ]


def count_resting() -> list[Sample]:
    """Count the resting orders by pair, through an index that holds only these."""
    counts = models.Order.objects.filter(models.WAITING).values_list("pair").annotate(Count("pk")).order_by()
    return [("engine_resting_orders", (pair,), count) for pair, count in counts]


PARTS = (
    Part("redis", look_at_redis),
    Part("broker", look_at_queues),
    Part("postgres", look_at_postgres),
    Part("quotes", look_at_quotes),
    Part("webhooks", look_at_webhooks),
    Part("resting", count_resting, COUNT_EVERY_S),
)
THREADS = len(PARTS)


@cache
def threads() -> ThreadPoolExecutor:
    """Return the thread pool: one thread for each part, so that none waits for another."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="scrape")


class Stores(Collector):
    """Reads all parts at each scrape."""

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: listing metric names must not touch a store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Start all reads at once and wait for them together."""
        asked_at = time.monotonic()
        wait([looking for part in PARTS if (looking := part.ask())], WITHIN_S)
        yield from metrics.families(sample for part in PARTS for sample in part.said(asked_at))


STORES = CollectorRegistry()
STORES.register(Stores())


def exposition(part: str = "") -> bytes:
    """Return this process's metrics (`process`), the stores' (`stores`), or both, in Prometheus' text format."""
    wanted = {"process": [metrics.PROCESS], "stores": [STORES]}.get(part, [metrics.PROCESS, STORES])
    return b"".join(map(generate_latest, wanted))
