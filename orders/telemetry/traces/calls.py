"""Spans of calls to the stores and to external services."""

import re
import sys
from collections.abc import Callable, Sized
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from typing import Any

from opentelemetry.trace import SpanKind

from orders.telemetry.traces.spans import CALLS_MAX, NOTHING, doing, sdk
from routing.store import redis

PASSAGES = (__name__, "orders.stores.rows", "routing.store")
"""Modules that every call goes through."""
WRITES = re.compile(r"\b(INSERT|(?<!FOR )UPDATE|DELETE)(?: INTO| FROM)?\s+(\w+)", re.IGNORECASE)
READS = re.compile(r"\bFROM\s+(?!json|unnest|asked)(\w+)", re.IGNORECASE)


def call(name: str, attributes: dict[str, Any], kind: SpanKind = SpanKind.CLIENT) -> AbstractContextManager[Any]:
    """Trace a call within a piece of work, such as one to the chain."""
    here = doing.get()
    if here is None or here.ended:
        return NOTHING
    here.calls += 1
    if here.calls > CALLS_MAX:
        return NOTHING
    return sdk().tracer.start_as_current_span(name, kind=kind, attributes=attributes)


def statement(sql: str) -> AbstractContextManager[Any]:
    """Trace a Postgres statement."""
    if doing.get() is None:
        return NOTHING
    name = summary(sql)
    verb, _, table = name.partition(" ")
    return call(name, facts("postgresql", verb) | {"db.collection.name": table, "db.query.summary": name})


@lru_cache(maxsize=256)
def summary(sql: str) -> str:
    """Name a statement by verb and table; for one that writes, the table it writes, wherever else it reads."""
    if written := WRITES.search(sql):
        return f"{written[1].upper()} {written[2]}"
    read = READS.search(sql)
    return f"SELECT {read[1]}" if read else sql.split(None, 1)[0].upper()


def facts(system: str, operation: str) -> dict[str, Any]:
    """Describe a call to a store, following the semantic conventions; the calling function names a script best."""
    frame = sys._getframe(2)
    while frame.f_back and not is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    function = f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}"
    return {"db.system.name": system, "db.operation.name": operation, "code.function.name": function}


def is_ours(module: str) -> bool:
    """Tell a module that has its own statements from one that every call goes through."""
    return module.startswith(("orders.", "routing.")) and module not in PASSAGES


@cache
def listen() -> None:
    """Trace this process's Redis calls from now on, so that they cost nothing while tracing is off."""
    client: Any = redis()
    make = client.pipeline

    def pipeline(*args: Any, **options: Any) -> Any:
        made = make(*args, **options)
        made.execute = in_redis(made.execute, made)
        return made

    client.execute_command, client.pipeline = in_redis(client.execute_command), pipeline


def in_redis(run: Callable[..., Any], pipeline: Sized | None = None) -> Callable[..., Any]:
    """Trace commands or a pipeline, named by the function that calls."""

    def traced(*args: Any, **options: Any) -> Any:
        if doing.get() is None or (pipeline is not None and not len(pipeline)):
            return run(*args, **options)
        operation = str(args[0]) if pipeline is None else "PIPELINE"
        known = facts("redis", operation) | ({"db.operation.batch.size": len(pipeline)} if pipeline else {})
        with call(f"{operation} {known['code.function.name'].rpartition('.')[2]}", known):
            return run(*args, **options)

    return traced
