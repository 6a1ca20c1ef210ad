"""Log lines: a fixed sentence plus fields; JSON for machines, text on a terminal.

`order_id`, `task_id` and `request_id` are context variables, so every line carries them, whichever module writes it. A
line about several orders names them in `order_ids` (orders/telemetry/log_fields.py), so that an order's id finds every
line about it.
"""

import logging
import logging.config
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
import structlog.tracebacks

from orders.telemetry.log_fields import request_id

WITHOUT_LOCALS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Local variables can hold passwords and keys, which must not reach the log."""

QUIET = {
    "psycopg.pool": {"level": "ERROR"},
    **{name: {"level": "WARNING"} for name in ("orders", "routing", "workers", "config")},
}
"""A command reports its own results and errors; log lines around them would only hide them."""

process = {"worker": "shell"}
"""Which process this is. Not a context variable, because every new thread would start without it."""


def name_process(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the process's name to a line."""
    line.setdefault("worker", process["worker"])
    return line


def name_request(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id of the request being served to a line, as its answer has it."""
    if asked := request_id.get():
        line.setdefault("request_id", asked)
    return line


def name_trace(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id of the order's trace to a line, in the format of collectors and their viewers."""
    if "order_id" in line:
        line["trace_id"] = str(line["order_id"]).replace("-", "")
    return line


def configure(*, level: str, form: str, role: str, traced: bool = False) -> None:
    """Route structlog and the standard library's logging through one formatter."""
    process["worker"] = role
    # A command's standard output is its result, so its log lines go to standard error.
    stream = sys.stderr if role == "shell" else sys.stdout
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        name_request,
        *([name_trace] if traced else []),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[Any] = (
        [structlog.processors.ExceptionRenderer(WITHOUT_LOCALS), structlog.processors.JSONRenderer(default=str)]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "engine": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
                    "foreign_pre_chain": shared,
                },
            },
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": stream, "formatter": "engine"}},
            "root": {"handlers": ["out"], "level": level},
            "loggers": {
                # One line per task adds nothing to the order's own lines.
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.beat": {"level": "WARNING"},
                # Failures and locks, and not what it does with its rows at each login.
                "axes": {"level": "WARNING"},
                "django_celery_beat": {"level": "WARNING"},
                # A client's error is reported to the client; with a line for each, a client could fill the log.
                "django.request": {"level": "ERROR"},
                "django.security": {"level": "CRITICAL"},
                "httpx": {"level": "WARNING"},
                "kombu": {"level": "WARNING"},
                # orders/telemetry/otlp.py reports lost spans at intervals; the exporter would do so for each request.
                "opentelemetry": {"level": "CRITICAL"},
                "urllib3": {"level": "ERROR"},
                # Three lines per socket, with its whole address, cost a seventh of what a socket does.
                "uvicorn.error": {"level": "WARNING"},
                **(QUIET if role == "shell" else {}),
            },
        },
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        cache_logger_on_first_use=True,
    )
