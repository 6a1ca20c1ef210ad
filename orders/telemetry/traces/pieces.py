"""Spans of work on batches, and of its calls to the stores and to external services."""

import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from orders.telemetry.traces import spans
from orders.telemetry.traces.records import ROOT, Span
from orders.telemetry.traces.spans import NOTHING, new_id, on
from routing.store import redis

CALLS_MAX = 64
"""Maximum number of store calls kept per piece of work; further ones are only counted in its attributes."""


class Work:
    """A piece of work on a batch. When it ends, it is added with its calls to the trace of every order it involved."""

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
        """When it began, or the outermost work that it is part of."""
        return self.outer.since if self.outer else self.began

    def __enter__(self) -> "Work":
        listen()
        self.token = doing.set(self)
        return self

    def __exit__(self, _: object, trouble: BaseException | None, __: object) -> None:
        doing.reset(self.token)
        self.closed = True
        own = self.span(repr(trouble)[:500] if trouble else None)
        spans.put(self.given, [own, *self.calls])
        spans.put(self.touched - self.given, [own._replace(parent=ROOT), *self.calls])

    def span(self, error: str | None) -> Span:
        """Make the work's own span."""
        batch = len(self.given | self.touched)
        counts = {"engine.batch.orders": batch} | ({"engine.calls_left_out": self.left_out} if self.left_out else {})
        facts = {**self.attributes, **counts}
        return Span(self.name, self.kind, self.id, self.parent, self.began, time.time_ns(), facts, error)

    def has(self, order_id: str) -> bool:
        """Tell whether the work is, or will be, in this order's trace; work that is still open adds the order."""
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
    """Trace a piece of work on these orders, and on all that it accepts, moves, wakes or writes to Postgres.

    It is part of the current work if that was given all these orders too; otherwise it stands alone.
    """
    if not on():
        return NOTHING
    here = doing.get()
    return Work(name, order_ids, outer=here if here and order_ids and here.given.issuperset(order_ids) else None)


def touch(order_ids: Iterable[str]) -> None:
    """Add orders to the current work."""
    here = doing.get()
    if here:
        here.touched.update(order_ids)


def parent_of(order_id: str, began: int) -> int:
    """Return the id of the innermost work on the order that had begun by then, else ROOT."""
    here = doing.get()
    while here:
        if here.began <= began and here.has(order_id):
            return here.id
        here = here.outer
    return ROOT


@contextmanager
def called(name: str, attributes: Mapping[str, Any], here: Work, kind: str = "CLIENT") -> Iterator[None]:
    """Time one call made by a piece of work."""
    began, error = time.time_ns(), None
    try:
        yield
    except BaseException as trouble:
        error = repr(trouble)[:500]
        raise
    finally:
        here.called(Span(name, kind, new_id(), here.id, began, time.time_ns(), attributes, error))


def call(name: str, **attributes: Any) -> AbstractContextManager[None]:
    """Time a call to an external service, such as the chain."""
    here = doing.get()
    return called(name, attributes, here) if here else NOTHING


def statement(sql: str) -> AbstractContextManager[None]:
    """Time a Postgres statement."""
    here = doing.get()
    return called(summary(sql), postgres(sql, caller()), here) if here else NOTHING


VERB = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+(?!json|unnest|asked)(\w+)", re.IGNORECASE)


@lru_cache(maxsize=256)
def summary(sql: str) -> str:
    """Name a statement by verb and table; for one that writes, the table it writes, wherever else it reads."""
    found = sorted(VERB.findall(sql), key=lambda one: one[0].upper() == "FROM")
    if not found:
        return sql.split(None, 1)[0].upper()
    verb, table = found[0]
    return f"{'SELECT' if verb.upper() == 'FROM' else verb.split()[0].upper()} {table}"


def postgres(sql: str, function: str) -> dict[str, Any]:
    """Return a statement's attributes, following the semantic conventions for databases."""
    verb, _, table = summary(sql).partition(" ")
    return {
        "db.system.name": "postgresql",
        "db.operation.name": verb,
        "db.collection.name": table,
        "db.query.summary": summary(sql),
        "code.function.name": function,
    }


def caller() -> str:
    """Name the function that calls the store; each statement has one caller, in the same module."""
    frame = sys._getframe(2)
    while frame.f_back and not is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}"


def is_ours(module: str) -> bool:
    """Tell a module that has its own statements from one that all calls go through."""
    return module.startswith(("orders.", "routing.")) and module not in (
        __name__,
        "orders.stores.rows",
        "routing.store",
    )


@cache
def listen() -> None:
    """Start timing this process's Redis calls: on first use, so that it costs nothing while tracing is off."""
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
    """Return a command's attributes, following the semantic conventions for databases."""
    facts = {"db.system.name": "redis", "db.operation.name": operation, "code.function.name": function}
    if operation.startswith("EVAL"):
        facts["db.stored_procedure.name"] = function.rpartition(".")[2]
    return facts
