"""A collector of traces for tests: takes OTLP over HTTP and keeps what it was sent, by trace."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ERROR, OK = Status.STATUS_CODE_ERROR, Status.STATUS_CODE_OK


@dataclass(frozen=True)
class Seen:
    """A span as it came, with the name of the service it came from."""

    service: str
    wire: Span

    @property
    def name(self) -> str:
        return self.wire.name

    @property
    def id(self) -> bytes:
        return self.wire.span_id

    @property
    def parent(self) -> bytes:
        return self.wire.parent_span_id

    @property
    def began(self) -> int:
        return self.wire.start_time_unix_nano

    @property
    def ended(self) -> int:
        return self.wire.end_time_unix_nano

    @property
    def kind(self) -> str:
        return Span.SpanKind.Name(self.wire.kind).removeprefix("SPAN_KIND_")

    @property
    def attributes(self) -> dict[str, Any]:
        return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in self.wire.attributes}

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        return {
            event.name: {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in event.attributes}
            for event in self.wire.events
        }


@dataclass
class Trace:
    """All spans of one order."""

    order_id: str
    spans: list[Seen]

    def named(self, name: str) -> list[Seen]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began)

    @property
    def names(self) -> Counter[str]:
        return Counter(span.name for span in self.spans)

    @property
    def root(self) -> Seen:
        (root,) = (span for span in self.spans if not span.parent)
        return root

    @property
    def orphans(self) -> list[str]:
        known = {span.id for span in self.spans}
        return [f"{span.name} of {span.service}" for span in self.spans if span.parent and span.parent not in known]

    def parent(self, span: Seen) -> Seen:
        (parent,) = (one for one in self.spans if one.id == span.parent)
        return parent

    def tree(self) -> str:
        """Draw it: times in milliseconds from the first span's beginning."""
        first = min(span.began for span in self.spans)

        def drawn(parent: bytes, depth: int) -> Iterator[str]:
            for span in sorted((one for one in self.spans if one.parent == parent), key=lambda one: one.began):
                at, took = (span.began - first) / 1e6, (span.ended - span.began) / 1e6
                yield f"{at:8.1f} {took:7.2f}  {'  ' * depth}{span.name}  [{span.service}]"
                yield from drawn(span.id, depth + 1)

        return "\n".join(drawn(b"", 0))


@dataclass
class Collector:
    """What was sent so far."""

    url: str
    spans: list[Seen] = field(default_factory=list)
    refuse: bool = False
    requests: int = 0

    def take(self, body: bytes) -> None:
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (one.value.string_value for one in sent.resource.attributes if one.key == "service.name")
            self.spans += [Seen(service, span) for scope in sent.scope_spans for span in scope.spans]

    def of(self, order_id: str) -> Trace:
        trace = bytes.fromhex(order_id.replace("-", ""))
        return Trace(order_id, [span for span in list(self.spans) if span.wire.trace_id == trace])

    def around(self, order_id: str) -> list[Seen]:
        """Return the spans of an order's trace, and of the work on several orders that it links to."""
        own = self.of(order_id).spans
        linked = {link.trace_id for span in own if span.wire.parent_span_id for link in span.wire.links}
        return own + [span for span in list(self.spans) if span.wire.trace_id in linked]

    @property
    def traces(self) -> set[str]:
        return {span.wire.trace_id.hex() for span in list(self.spans)}


@contextmanager
def collector() -> Iterator[Collector]:
    """Listen for a while."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.requests += 1
            if not kept.refuse and self.path == "/v1/traces":
                kept.take(body)
            self.send_response(403 if kept.refuse else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
