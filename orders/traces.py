"""Traces: what becomes a span of an order's trace, and the hooks that say so.

An order's id is its trace's id, and the id of the trace's root span follows from it.  So each process adds its spans on
its own: nothing has to travel with a batch's message, and nothing is lost with Redis.

The root is the request that placed the order.  Below it are the pieces of work on batches with that order in them
(`accept`, `process order`, `look`, `archive` ...), each with the calls it made to the stores, and the order's own
stages (`route`, `build`, `settle` ...), each from what was told before to what was told at its end.  Without
OTEL_EXPORTER_OTLP_ENDPOINT every hook returns at once, and nothing of OpenTelemetry is imported.
"""

import atexit
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache
from random import getrandbits
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings

from engine.lifecycle import Status
from routing.store import redis

if TYPE_CHECKING:
    from orders.otlp import Shipper
    from orders.progress import Move

log = structlog.get_logger(__name__)

ROOT = 0
"""As a span's id or its parent: the root of whichever order's trace it is in."""
NOBODY = -1
"""As a parent: the span is the root."""
CALLS_MAX = 64
"""Calls to the stores kept of one piece of work; further ones are counted in its attributes."""
BEGUN_MAX = 20_000
"""Orders of which it is remembered since when they have been in a stage."""

NOTHING: AbstractContextManager[None] = nullcontext()


class Link(NamedTuple):
    """A span of another trace, or of the same: 128 and 64 bits; ROOT is the root of that trace."""

    trace: int
    span: int


class Told(NamedTuple):
    """Something that happened at a moment of a span."""

    name: str
    at: int
    facts: Mapping[str, Any]


class Span(NamedTuple):
    """One span, finished; times are epoch nanoseconds."""

    name: str
    kind: str
    id: int
    parent: int
    began: int
    ended: int
    attributes: Mapping[str, Any]
    error: str | None = None
    """What went wrong; empty for a span that says it went well."""
    links: tuple[Link, ...] = ()
    events: tuple[Told, ...] = ()


def on() -> bool:
    """Tell whether orders are traced."""
    return bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT)


def new_id() -> int:
    """Make a span's id: any 64 bits but none at all."""
    return getrandbits(64) or 1


def trace_of(order_id: str) -> int:
    """Return the id of an order's trace: its own, which has 128 bits too."""
    return UUID(order_id).int


def is_chosen(order_id: str) -> bool:
    """Tell whether an order is among the OTEL_TRACES_SAMPLER_ARG that are traced: in every process the same."""
    share: float = settings.OTEL_TRACES_SAMPLER_ARG
    return share >= 1 or int(order_id[-8:], 16) < share * 2**32


@cache
def shipper() -> "Shipper":
    """Start what sends spans away, on the first of this process."""
    from orders.otlp import Shipper

    made = Shipper()
    made.start()
    # A server and a worker end by a hook of their own, since a forked process has no exit handlers.
    atexit.register(flush)
    return made


def put(order_ids: Iterable[str], spans: Sequence[Span]) -> None:
    """Add these spans to the trace of each of these orders; whatever goes wrong with that is no order's business."""
    try:
        chosen = [order_id for order_id in order_ids if is_chosen(order_id)]
        if chosen:
            shipper().put([trace_of(order_id) for order_id in chosen], spans)
    except Exception as reason:
        log.warning("spans not kept", spans=len(spans), reason=repr(reason))


def flush(**_: object) -> None:
    """Send what is left, for as long as a process's end may wait for it."""
    if shipper.cache_info().currsize:
        shipper().stop()


# The request that placed an order: its trace's root


@dataclass(slots=True)
class Door:
    """A request through which orders may come; it becomes the root of each of their traces when it is answered."""

    name: str
    attributes: dict[str, Any]
    links: tuple[Link, ...] = ()
    at_once: bool = False
    """Whether an order's root ends with its acceptance: a socket stays open for as long as the order lives."""
    began: int = field(default_factory=time.time_ns)
    error: str | None = None
    orders: list[str] = field(default_factory=list)
    answered: bool = False
    lock: Lock = field(default_factory=Lock)

    def accepted(self, order_id: str) -> None:
        """Note an order; one whose client has gone already has its root now."""
        with self.lock:
            if not (self.at_once or self.answered):
                self.orders.append(order_id)
                return
        self.root(order_id, placed_at(order_id) if self.at_once else self.began)

    def answer(self, status: int | None) -> None:
        """Give the orders their roots."""
        with self.lock:
            self.answered = True
        if status is not None:
            self.attributes["http.response.status_code"] = status
        if status is None or status >= 500:
            self.error = "the client had no answer" if status is None else f"answered with {status}"
        for order_id in self.orders:
            self.root(order_id, self.began)

    def root(self, order_id: str, began: int) -> None:
        """Make an order's root."""
        attributes, now = {**self.attributes, "order.id": order_id}, time.time_ns()
        put([order_id], [Span(self.name, "SERVER", ROOT, NOBODY, began, now, attributes, self.error, self.links)])


entered: ContextVar[Door | None] = ContextVar("door", default=None)


def door() -> Door | None:
    """Return the request that is being served here, if it is traced."""
    return entered.get()


def placed_at(order_id: str) -> int:
    """Return when an order's id was made, which begins with that (RFC 9562, 5.7)."""
    return min(time.time_ns(), (UUID(order_id).int >> 80) * 1_000_000)


TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
"""As W3C Trace Context, level 1, has it."""


def sent_by(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Link, ...]:
    """Return the client's own span if it has named one: linked, since the order's trace has an id of its own."""
    for name, value in headers:
        found = TRACEPARENT.fullmatch(value.strip()) if name == b"traceparent" else None
        if found and int(found[1], 16) and int(found[2], 16):
            return (Link(int(found[1], 16), int(found[2], 16)),)
    return ()


def entrance(scope: Mapping[str, Any]) -> Door:
    """Make the door of a request."""
    host, port = scope.get("server") or (None, None)
    attributes = {"http.route": scope["path"], "url.path": scope["path"], "server.address": host, "server.port": port}
    if scope["type"] == "websocket":
        return Door(f"websocket {scope['path']}", attributes, sent_by(scope["headers"]), at_once=True)
    attributes |= {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
    attributes["network.protocol.version"] = scope.get("http_version")
    return Door(f"{scope['method']} {scope['path']}", attributes, sent_by(scope["headers"]))


PLACES_ORDERS = frozenset({"/api/orders/execute", "/api/orders/batch"})


async def serve(scope: Any, send: Any, serving: Callable[[Any], Any]) -> None:
    """Serve a request through which orders may come; `serving` is given the `send` to use."""
    if not (on() and scope["path"].rstrip("/") in PLACES_ORDERS):
        await serving(send)
        return
    here, status = entrance(scope), None

    async def noting(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        await send(message)

    token = entered.set(here)
    try:
        await serving(noting)
    finally:
        entered.reset(token)
        if scope["type"] == "http":
            here.answer(status)


def accepted(orders: Iterable[tuple[str, Door | None, str | None]]) -> None:
    """Begin the traces of new orders: each with the request it came through, and the order it replays."""
    if not on():
        return
    for order_id, came_through, replay_of in orders:
        touch((order_id,))
        if came_through and not replay_of:
            came_through.accepted(order_id)
        else:
            links = (Link(trace_of(replay_of), ROOT),) if replay_of else ()
            at, now = placed_at(order_id), time.time_ns()
            name = "replay" if replay_of else "place order"
            put([order_id], [Span(name, "INTERNAL", ROOT, NOBODY, at, now, {"order.id": order_id}, links=links)])


# Pieces of work on batches, and the calls they make


class Work:
    """A piece of work on a batch: where it ends, each order it had to do with has it in its trace, with its calls."""

    def __init__(
        self,
        name: str,
        order_ids: Collection[str] = (),
        kind: str = "INTERNAL",
        parent: int = ROOT,
        attributes: Mapping[str, Any] | None = None,
        outer: "Work | None" = None,
    ) -> None:
        self.name, self.kind, self.attributes = name, kind, dict(attributes or {})
        self.id, self.parent, self.outer = new_id(), outer.id if outer else parent, outer
        self.given, self.touched = frozenset(order_ids), set[str]()
        self.calls: list[Span] = []
        self.left_out = 0
        self.began = time.time_ns()
        self.closed = False

    @property
    def since(self) -> int:
        """When it began, or that of which it is a part."""
        return self.outer.since if self.outer else self.began

    def __enter__(self) -> "Work":
        listen()
        self.token = doing.set(self)
        return self

    def __exit__(self, _: object, trouble: BaseException | None, __: object) -> None:
        doing.reset(self.token)
        self.closed = True
        own = self.span(repr(trouble)[:500] if trouble else None)
        put(self.given, [own, *self.calls])
        put(self.touched - self.given, [own._replace(parent=ROOT), *self.calls])

    def span(self, error: str | None) -> Span:
        """Make its own span."""
        batch = len(self.given | self.touched)
        counts = {"engine.batch.orders": batch} | ({"engine.calls_left_out": self.left_out} if self.left_out else {})
        facts = {**self.attributes, **counts}
        return Span(self.name, self.kind, self.id, self.parent, self.began, time.time_ns(), facts, error)

    def has(self, order_id: str) -> bool:
        """Tell whether the work is, or will be, in this order's trace; one that is not over may take it in."""
        if not self.closed:
            self.touched.add(order_id)
        return order_id in self.given or order_id in self.touched

    def called(self, call: Span) -> None:
        """Keep a call, up to CALLS_MAX."""
        if len(self.calls) < CALLS_MAX:
            self.calls.append(call)
        else:
            self.left_out += 1


doing: ContextVar[Work | None] = ContextVar("work", default=None)


def work(name: str, order_ids: Collection[str] = ()) -> AbstractContextManager[Any]:
    """Trace a piece of work: on these orders, and on all that are accepted, moved, woken or archived in it.

    It is part of the work in hand if that is on these orders too; otherwise it stands for itself.
    """
    if not on():
        return NOTHING
    here = doing.get()
    return Work(name, order_ids, outer=here if here and order_ids and here.given.issuperset(order_ids) else None)


def touch(order_ids: Iterable[str]) -> None:
    """Note orders that the work in hand has to do with."""
    here = doing.get()
    if here:
        here.touched.update(order_ids)


def parent_of(order_id: str, began: int) -> int:
    """Return the innermost work on an order that was under way at that time, else the root."""
    here = doing.get()
    while here:
        if here.began <= began and here.has(order_id):
            return here.id
        here = here.outer
    return ROOT


@contextmanager
def called(name: str, attributes: Mapping[str, Any], here: Work, kind: str = "CLIENT") -> Iterator[None]:
    """Time one call that a piece of work makes."""
    began, error = time.time_ns(), None
    try:
        yield
    except BaseException as trouble:
        error = repr(trouble)[:500]
        raise
    finally:
        here.called(Span(name, kind, new_id(), here.id, began, time.time_ns(), attributes, error))


def call(name: str, **attributes: Any) -> AbstractContextManager[None]:
    """Time a call to somebody outside, such as the chain."""
    here = doing.get()
    return called(name, attributes, here) if here else NOTHING


def statement(sql: str) -> AbstractContextManager[None]:
    """Time a statement in Postgres."""
    here = doing.get()
    return called(summary(sql), postgres(sql, caller()), here) if here else NOTHING


VERB = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+(?!json|unnest|asked)(\w+)", re.IGNORECASE)


@lru_cache(maxsize=256)
def summary(sql: str) -> str:
    """Name a statement by its verb and table; one that writes by what it writes, wherever it reads."""
    found = sorted(VERB.findall(sql), key=lambda one: one[0].upper() == "FROM")
    if not found:
        return sql.split(None, 1)[0].upper()
    verb, table = found[0]
    return f"{'SELECT' if verb.upper() == 'FROM' else verb.split()[0].upper()} {table}"


def postgres(sql: str, function: str) -> dict[str, Any]:
    """Describe a statement as the semantic conventions for databases do."""
    verb, _, table = summary(sql).partition(" ")
    return {
        "db.system.name": "postgresql",
        "db.operation.name": verb,
        "db.collection.name": table,
        "db.query.summary": summary(sql),
        "code.function.name": function,
    }


def caller() -> str:
    """Name the function on whose behalf a store is called: a statement stands beside its only caller."""
    frame = sys._getframe(2)
    while frame.f_back and not is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}"


def is_ours(module: str) -> bool:
    """Tell a module with a statement of its own from one through which they all go."""
    return module.startswith(("orders.", "routing.")) and module not in (__name__, "orders.rows", "routing.store")


@cache
def listen() -> None:
    """Have this process's calls to Redis timed: only once traces are on, so that they cost nothing otherwise."""
    client: Any = redis()
    run, pipeline = client.execute_command, client.pipeline

    def timed(*args: Any, **options: Any) -> Any:
        here = doing.get()
        if here is None:
            return run(*args, **options)
        function = caller()
        with called(f"{args[0]} {function.rpartition('.')[2]}", in_redis(str(args[0]), function), here):
            return run(*args, **options)

    def pipelined(*args: Any, **options: Any) -> Any:
        made = pipeline(*args, **options)
        execute = made.execute

        def timed_execute(*args: Any, **options: Any) -> Any:
            here, commands = doing.get(), len(made.command_stack)
            if here is None or not commands:
                return execute(*args, **options)
            function = caller()
            facts = {**in_redis("PIPELINE", function), "db.operation.batch.size": commands}
            with called(f"PIPELINE {function.rpartition('.')[2]}", facts, here):
                return execute(*args, **options)

        made.execute = timed_execute
        return made

    client.execute_command, client.pipeline = timed, pipelined


def in_redis(operation: str, function: str) -> dict[str, Any]:
    """Describe a command as the semantic conventions for databases do."""
    facts = {"db.system.name": "redis", "db.operation.name": operation, "code.function.name": function}
    if operation.startswith("EVAL"):
        facts["db.stored_procedure.name"] = function.rpartition(".")[2]
    return facts


# Messages


def message_span(task_id: str) -> int:
    """Return the span id of a message's sending: known to who sends it and to who receives it."""
    return UUID(task_id).int & (2**64 - 1)


def messaging(task: str, task_id: str, operation: str) -> dict[str, Any]:
    """Describe a message as the semantic conventions for messaging do."""
    return {
        "messaging.system": "celery",
        "messaging.destination.name": task.partition(".")[0],
        "messaging.operation.name": operation,
        "messaging.operation.type": {"publish": "send"}.get(operation, operation),
        "messaging.message.id": task_id,
        "celery.task": task,
    }


def publishing(task: str, task_id: str, order_ids: Sequence[str]) -> AbstractContextManager[None]:
    """Trace the sending of a message about these orders; of one that names none, as a call of the work in hand."""
    if order_ids and on():
        return published(task, task_id, order_ids)
    here = doing.get()
    if here is None:
        return NOTHING
    return called(f"publish {task.partition('.')[0]}", messaging(task, task_id, "publish"), here, "PRODUCER")


@contextmanager
def published(task: str, task_id: str, order_ids: Sequence[str]) -> Iterator[None]:
    """Trace the sending of a message: part of the work that sends it."""
    began, error = time.time_ns(), None
    try:
        yield
    except BaseException as trouble:
        error = repr(trouble)[:500]
        raise
    finally:
        facts = messaging(task, task_id, "publish") | {"engine.batch.orders": len(order_ids)}
        name, ended = f"publish {task.partition('.')[0]}", time.time_ns()
        by_parent: dict[int, list[str]] = {}
        for order_id in order_ids:
            by_parent.setdefault(parent_of(order_id, began), []).append(order_id)
        for parent, ids in by_parent.items():
            put(ids, [Span(name, "PRODUCER", message_span(task_id), parent, began, ended, facts, error)])


def processing(
    task: str, task_id: str, order_ids: Collection[str], waited_ms: int | None
) -> AbstractContextManager[Any]:
    """Trace what a worker does with a message."""
    if not on():
        return NOTHING
    facts = messaging(task, task_id, "process")
    if waited_ms is not None:
        facts["messaging.celery.waited_ms"] = waited_ms
    return Work(f"process {task.partition('.')[0]}", order_ids, "CONSUMER", message_span(task_id), facts)


# An order's stages

STAGES = {
    Status.PENDING: "route",
    Status.TRIGGERED: "route",
    Status.ROUTING: "route",
    Status.BUILDING: "build",
    Status.SUBMITTED: "settle",
}
"""What is done with an order in each status; that it waits is nobody's work, and no span."""
ACTS = {Status.TRIGGERED: "trigger", Status.CANCELLED: "cancel", Status.EXPIRED: "expire"}
"""What is done at a stroke, by where it leads."""
SHOWN = ("venue", "reason", "txHash", "executedPrice", "code")
"""Facts that stand in a stage's own attributes, and not only with its events."""

begun: OrderedDict[str, int] = OrderedDict()
begun_lock = Lock()


def moved(moves: Iterable["Move"]) -> None:
    """Add to each order's trace the stage that has ended with its move."""
    if not on():
        return
    now = time.time_ns()
    for move in moves:
        touch((move.order_id,))
        began = stage_began(move, now)
        put([move.order_id], [stage(move, began, now)])


def stage_began(move: "Move", now: int) -> int:
    """Return since when an order has been in its stage, and note that the next begins now."""
    here, to = doing.get(), move.steps[-1][0]
    with begun_lock:
        known = begun.pop(move.order_id, None)
        if to in (Status.BUILDING, Status.SUBMITTED):
            begun[move.order_id] = now
        while len(begun) > BEGUN_MAX:
            begun.popitem(last=False)
    # Another process's stage, or one that begins with being looked at: waiting and backoff are no work.
    if known is None or move.status not in (Status.BUILDING, Status.SUBMITTED):
        return here.since if here else now
    return known


def stage(move: "Move", began: int, now: int) -> Span:
    """Make the span of a stage, with what its order's client was told."""
    to, facts = move.steps[-1]
    merged = {name: value for _, said in move.steps for name, value in said.items()}
    attributes = {"order.id": move.order_id, "order.type": move.type, "order.status": to, "order.attempt": move.attempt}
    attributes |= {f"order.{name}": merged[name] for name in SHOWN if name in merged}
    return Span(
        name=stage_name(move.status, to),
        kind="INTERNAL",
        id=new_id(),
        parent=parent_of(move.order_id, began),
        began=began,
        ended=now,
        attributes=attributes,
        error=trouble(to, facts),
        # The order may have waited for days: what set it off is what this belongs to, beside what placed it.
        links=(Link(trace_of(move.order_id), ROOT),) if move.steps[0][0] is Status.TRIGGERED else (),
        events=tuple(Told(status, now, said) for status, said in move.steps),
    )


def stage_name(before: Status, to: Status) -> str:
    """Name what was done."""
    if before is Status.PENDING and to is Status.PENDING:
        return "amend"
    return ACTS.get(to, STAGES[before])


def trouble(to: Status, facts: Mapping[str, Any]) -> str | None:
    """Say what went wrong in a stage: nothing for one that went well, None where neither can be said."""
    if to is Status.FAILED:
        return f"{facts['code']}: {facts['message']}"
    for tried_again in ("retry", "returned"):
        if tried_again in facts:
            return f"{facts[tried_again]['code']}: {facts[tried_again]['message']}"
    return "" if to is Status.CONFIRMED else None
