"""Send spans to a collector by OTLP over HTTP, on the SDK's own thread: no order ever waits for it.

Spans that the collector does not take in time are dropped, counted and logged. Imported only where orders are traced.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from orders.telemetry import metrics

log = structlog.get_logger(__name__)

WAITING_MAX = 50_000
"""Maximum number of spans waiting to be sent; further ones are dropped."""
BATCH = 1_000
"""Maximum number of spans per request."""
EVERY_S = 0.5
ANSWER_WITHIN_S = 2.0
"""Timeout of a request to the collector; after it, the request's spans are dropped."""
ENDS_WITHIN_S = 1.0
"""How long a process that exits waits for the remaining spans to be sent."""
COMPLAIN_EVERY_S = 30.0
TEXT_MAX = 1_000
"""Maximum length of an attribute, in characters."""
LINKS_MAX = 1_000
"""Maximum number of orders that the span of a batch links to."""


class Ids(RandomIdGenerator):
    """Random ids, except for an order's root span, whose ids follow from the order's id."""

    def __init__(self) -> None:
        self.root: ContextVar[SpanContext | None] = ContextVar("root", default=None)

    def generate_trace_id(self) -> int:
        root = self.root.get()
        return root.trace_id if root else super().generate_trace_id()

    def generate_span_id(self) -> int:
        root = self.root.get()
        return root.span_id if root else super().generate_span_id()


class Exporter(OTLPSpanExporter):
    """Counts what the collector took and what it did not.

    Headers, certificates and compression come from OpenTelemetry's own variables.
    """

    def __init__(self) -> None:
        endpoint = f"{str(settings.OTEL_EXPORTER_OTLP_ENDPOINT).rstrip('/')}/v1/traces"
        super().__init__(endpoint=endpoint, timeout=ANSWER_WITHIN_S)
        self.lock = threading.Lock()
        self.waiting = self.dropped = 0
        self.complained_at = float("-inf")

    def admit(self) -> bool:
        """Make room for a span, or drop it: the SDK's own queue does not count what it drops."""
        with self.lock:
            taken = self.waiting < WAITING_MAX
            self.waiting += taken
        if not taken:
            self.drop(1)
        return taken

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one request."""
        with self.lock:
            self.waiting -= len(spans)
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            metrics.spans("sent", len(spans))
        else:
            self.drop(len(spans))
        return result

    def drop(self, count: int) -> None:
        """Count lost spans, and log them at most every COMPLAIN_EVERY_S."""
        metrics.spans("dropped", count)
        self.dropped += count
        now = time.monotonic()
        if now - self.complained_at > COMPLAIN_EVERY_S:
            self.complained_at = now
            # Without the login and the query, which may hold a token.
            parts = urlsplit(str(settings.OTEL_EXPORTER_OTLP_ENDPOINT))
            endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
            log.warning("spans dropped, the collector does not accept them", spans=self.dropped, endpoint=endpoint)


class Sender(BatchSpanProcessor):
    """Sends spans in batches, once `hold` does not keep them."""

    def __init__(self, exporter: Exporter, hold: Callable[[ReadableSpan], bool]) -> None:
        super().__init__(exporter, WAITING_MAX, EVERY_S * 1000, BATCH)
        self.exporter, self.hold = exporter, hold

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended."""
        if not self.hold(span):
            self.send(span)

    def send(self, span: ReadableSpan) -> None:
        """Queue a span, if there is room."""
        if self.exporter.admit():
            super().on_end(span)


class Sdk:
    """The SDK as this process uses it."""

    def __init__(self, hold: Callable[[ReadableSpan], bool]) -> None:
        self.ids, self.sender = Ids(), Sender(Exporter(), hold)
        limits = SpanLimits(max_attribute_length=TEXT_MAX, max_links=LINKS_MAX)
        # `stop` ends it: the SDK's own exit handler would wait half a minute for a collector that hangs.
        self.provider = TracerProvider(DEFAULT_ON, resource(), False, id_generator=self.ids, span_limits=limits)
        self.provider.add_span_processor(self.sender)
        self.tracer = self.provider.get_tracer("orders.telemetry.traces")

    def start_root(
        self, name: str, ids: SpanContext, began: int, kind: SpanKind, attributes: dict[str, Any], links: Sequence[Link]
    ) -> Span:
        """Start an order's root span, with these ids."""
        token = self.ids.root.set(ids)
        try:
            return self.tracer.start_span(name, Context(), kind, attributes, links, start_time=began)
        finally:
            self.ids.root.reset(token)

    def stop(self) -> None:
        """Send the remaining spans, for at most ENDS_WITHIN_S."""
        ending = threading.Thread(target=self.provider.shutdown, daemon=True)
        ending.start()
        ending.join(ENDS_WITHIN_S)


def resource() -> Resource:
    return Resource(
        {
            "service.name": settings.ROLE,
            "service.namespace": "order-engine",
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "process.pid": os.getpid(),
        }
    )
