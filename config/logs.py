"""Log lines: a fixed sentence plus fields; JSON for machines, text on a terminal.

`order_id` and `task_id` travel in context variables, so a line carries them whoever writes it.  A line about several
orders names them in `order_ids` (orders/telemetry/log_fields.py), so that an order's id finds every line about it.
"""

import logging
import logging.config
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
import structlog.tracebacks

WITHOUT_LOCALS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Local variables hold passwords and keys; a log does not."""

QUIET = {
    "psycopg.pool": {"level": "ERROR"},
    **{name: {"level": "WARNING"} for name in ("orders", "routing", "workers", "config")},
}
"""A command says itself what it did and what is wrong; log lines around its answer would only hide it."""

process = {"worker": "shell"}
"""Which process this is; not a context variable, which every new thread would begin without."""


def name_process(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the process's name on a line."""
    line.setdefault("worker", process["worker"])
    return line


def name_trace(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the id of its order's trace on a line, as collectors and their viewers write it."""
    if "order_id" in line:
        line["trace_id"] = str(line["order_id"]).replace("-", "")
    return line


def configure(*, level: str, form: str, role: str, traced: bool = False) -> None:
    """Route structlog and the standard library's logging through one formatter."""
    process["worker"] = role
    # A command's standard output is its answer; its log lines go beside it.
    stream = sys.stderr if role == "shell" else sys.stdout
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_process,
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
                # One line per task says nothing that the order's own lines do not.
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.beat": {"level": "WARNING"},
                "django_celery_beat": {"level": "WARNING"},
                # A client's mistake is answered to the client; a client could fill the log with a line for each.
                "django.request": {"level": "ERROR"},
                "httpx": {"level": "WARNING"},
                "kombu": {"level": "WARNING"},
                # orders/telemetry/otlp.py reports lost spans now and then; the exporter would for each request.
                "opentelemetry": {"level": "CRITICAL"},
                "urllib3": {"level": "ERROR"},
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
