"""Health probes: the process lives, and what it needs answers."""

from collections.abc import Callable, Mapping

import structlog
from django.db import connection
from rest_framework.request import Request
from rest_framework.response import Response

from orders.api import schema
from orders.api.errors import body, headers_of
from orders.api.open_views import Open
from orders.operations import heartbeats
from routing import away, quotes
from routing.catalogue import catalogue
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms, redis
from routing.venues import VENUES

log = structlog.get_logger(__name__)


class Health(Open):
    """Says that the process lives."""

    @schema.health
    def get(self, request: Request) -> Response:
        """Answer as long as the process can."""
        return Response({"status": "ok"})


class Ready(Open):
    """Says whether the process can do its work."""

    @schema.readiness
    def get(self, request: Request) -> Response:
        """Try each part and say which is not well.

        Without Postgres no order can be accepted, without Redis none can move: `503`.  Without fresh quotes or workers
        orders are accepted, kept, and executed later: `degraded`, which is no reason to send clients elsewhere.
        """
        parts = {"postgres": trial("postgres", ask_postgres), "redis": trial("redis", ask_redis)}
        lacking = unwell(parts)
        if lacking:
            parts |= {"quotes": UNKNOWN, "workers": UNKNOWN}
            error = body("not_ready", "; ".join(lacking))
            return Response({**error, "parts": parts}, status=503, headers=headers_of(503, error))
        parts |= {"quotes": trial("quotes", ask_quotes), "workers": trial("workers", ask_workers)}
        return Response({"status": "degraded" if unwell(parts) else "ready", "parts": parts})


def unwell(parts: Mapping[str, str]) -> list[str]:
    """Return what the parts that are not well said."""
    return [f"{name}: {answer}" for name, answer in parts.items() if answer != "ok"]


def trial(part: str, ask: Callable[[], None]) -> str:
    """Return "ok", or why not; anyone may ask, so what a store's client raises goes to the log alone."""
    try:
        ask()
    except (VenueSilent, NoWorker) as reason:
        return f"{type(reason).__name__}: {reason}"
    except Exception as reason:
        note(part, f"{type(reason).__name__}: {str(reason).strip()}")
        return away.why(reason)
    note(part, "")
    return "ok"


noted: dict[str, str] = {}
"""What was last logged about each part."""


def note(part: str, reason: str) -> None:
    """Log why a part fails, once for each reason: who asks often must not fill the log."""
    if reason and reason != noted.get(part):
        log.warning("not ready", part=part, reason=reason)
    noted[part] = reason


def ask_postgres() -> None:
    """Run the smallest query that needs the tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders_order LIMIT 1")


def ask_redis() -> None:
    """Ping; StoreError when it is away."""
    if not redis().ping():
        raise StoreError("no PONG")


class VenueSilent(Exception):
    """A venue has no fresh quote of any pair."""


def ask_quotes() -> None:
    """See whether every venue quotes; VenueSilent names those that do not."""
    known, now = quotes.cached(catalogue().active), now_ms()
    fresh_ms = risk_limits.QUOTE_FRESH_MS
    heard = {quote.venue for one in known.values() for quote in one.quotes if quote.age(now) <= fresh_ms}
    silent = [venue for venue in VENUES if venue not in heard]
    if silent:
        raise VenueSilent(f"no quote within {fresh_ms} ms from {' or '.join(silent)}")


class NoWorker(Exception):
    """A queue has no worker."""


def ask_workers() -> None:
    """See whether every queue has a worker that lives; NoWorker names those that have none."""
    idle = [queue for queue, count in heartbeats.alive().items() if not count]
    if idle:
        raise NoWorker(f"no worker for {', '.join(idle)}")


UNKNOWN = "unknown while a store is unavailable"
