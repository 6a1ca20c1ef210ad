"""Send spans to a collector by OTLP over HTTP, on a separate thread that no order ever waits for.

Spans that the collector does not take in time are dropped, counted and logged. Imported only where orders are traced.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from django.conf import settings
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from orders.telemetry import metrics
from orders.telemetry.traces.records import NOBODY, ROOT, Span

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

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SCOPE = InstrumentationScope("orders.telemetry.traces")

Parcel = tuple[Sequence[int], Sequence[Span]]
"""Trace ids, and the spans that each of those traces gets."""
Export = Callable[[Sequence[ReadableSpan]], SpanExportResult]


def exporter() -> OTLPSpanExporter:
    """Make the exporter; headers, certificates and compression come from OpenTelemetry's own variables."""
    endpoint = str(settings.OTEL_EXPORTER_OTLP_ENDPOINT).rstrip("/")
    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=ANSWER_WITHIN_S)


def resource() -> Resource:
    """Describe this process."""
    return Resource(
        {
            "service.name": settings.ROLE,
            "service.namespace": "order-engine",
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "process.pid": os.getpid(),
        }
    )


class Shipper(threading.Thread):
    """Queues spans without blocking, and sends them on its own thread."""

    def __init__(self) -> None:
        super().__init__(name="traces", daemon=True)
        self.parcels: deque[Parcel] = deque()
        self.waiting = 0
        self.lock = threading.Lock()
        self.awake, self.stopping = threading.Event(), threading.Event()
        self.exporter = exporter()
        self.resource = resource()
        self.dropped = 0
        self.complained_at = float("-inf")

    def put(self, traces: Sequence[int], spans: Sequence[Span]) -> None:
        """Queue these spans for each of these traces; returns at once."""
        count = len(traces) * len(spans)
        with self.lock:
            taken = self.waiting + count <= WAITING_MAX and not self.stopping.is_set()
            if taken:
                self.parcels.append((traces, spans))
                self.waiting += count
        if not taken:
            self.drop(count)
        elif self.waiting >= BATCH:
            self.awake.set()

    def run(self) -> None:
        """Send every EVERY_S, or as soon as a full request is waiting."""
        while not self.stopping.is_set():
            self.awake.wait(EVERY_S)
            self.awake.clear()
            self.send_all()
        self.send_all()

    def send_all(self) -> None:
        """Send the queued spans. An unexpected error loses the spans being sent, and nothing else."""
        try:
            for batch in batches(self.taken()):
                self.send(batch)
        except Exception:
            log.exception("spans not sent")

    def taken(self) -> Iterator[ReadableSpan]:
        """Yield the queued spans as the SDK's type."""
        while self.parcels:
            traces, spans = self.parcels.popleft()
            with self.lock:
                self.waiting -= len(traces) * len(spans)
            for trace in traces:
                yield from (readable(trace, span, self.resource) for span in spans)

    def send(self, batch: Sequence[ReadableSpan]) -> None:
        """Send one request."""
        if self.exporter.export(batch) is SpanExportResult.SUCCESS:
            metrics.spans("sent", len(batch))
        else:
            self.drop(len(batch))

    def drop(self, count: int) -> None:
        """Count lost spans, and log them at most every COMPLAIN_EVERY_S."""
        metrics.spans("dropped", count)
        self.dropped += count
        now = time.monotonic()
        if now - self.complained_at > COMPLAIN_EVERY_S:
            self.complained_at = now
            endpoint = settings.OTEL_EXPORTER_OTLP_ENDPOINT
            log.warning("spans dropped, the collector does not take them", spans=self.dropped, endpoint=endpoint)

    def stop(self) -> None:
        """Send the remaining spans, for at most ENDS_WITHIN_S."""
        self.stopping.set()
        self.awake.set()
        self.join(ENDS_WITHIN_S)
        self.exporter.shutdown()  # type: ignore[no-untyped-call]


def batches(spans: Iterator[ReadableSpan]) -> Iterator[list[ReadableSpan]]:
    """Split spans into requests of at most BATCH."""
    batch: list[ReadableSpan] = []
    for span in spans:
        batch.append(span)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def readable(trace: int, span: Span, made_by: Resource) -> ReadableSpan:
    """Make the SDK's span directly.

    The SDK's tracer is not used: it would assign the span ids itself, and keep each span open from its start.
    """
    return ReadableSpan(
        name=span.name,
        context=context(trace, span.id),
        parent=None if span.parent == NOBODY else context(trace, span.parent),
        resource=made_by,
        attributes=plain(span.attributes),
        events=[Event(told.name, plain(told.facts), told.at) for told in span.events],
        links=[Link(context(link.trace, link.span)) for link in span.links],
        kind=SpanKind[span.kind],
        instrumentation_scope=SCOPE,
        status=status(span.error),
        start_time=span.began,
        end_time=span.ended,
    )


def context(trace: int, span: int) -> SpanContext:
    """Identify a span; a root's id is the lower half of its trace id, of which 62 bits are random (RFC 9562, 5.7)."""
    return SpanContext(trace, trace & (2**64 - 1) if span == ROOT else span, is_remote=False, trace_flags=SAMPLED)


def status(error: str | None) -> Status:
    """Return a span's status: unset for None, OK for an empty error."""
    if error is None:
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, error[:TEXT_MAX]) if error else Status(StatusCode.OK)


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Convert facts to attributes: compound values become JSON, unknown (None) values are left out."""
    return {name: value(one) for name, one in facts.items() if one is not None}


def value(one: Any) -> str | bool | int | float:
    """Convert one value, truncated to TEXT_MAX characters."""
    if isinstance(one, bool | int | float):
        return one
    return (one if isinstance(one, str) else msgspec.json.encode(one).decode())[:TEXT_MAX]
