"""Stores of the user's own: tried once before anything starts, so that a wrong address is one sentence."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

PATIENCE_S = 3
REASON_MAX = 300


class Unreachable(Exception):
    """A store that a setting names does not answer; the message names the setting, the server and the reason."""


def reach(settings: Mapping[str, Any], external: frozenset[str]) -> None:
    """Ask every external store once.

    Raises Unreachable for the first that does not answer.
    """
    for name in sorted(external):
        try:
            ASK[name](settings[name])
        # Whatever the store's client raises is the reason.
        except Exception as problem:
            raise Unreachable(sentence(name, settings[name], problem)) from None


def ask_postgres(address: str) -> None:
    """Log in, once."""
    import psycopg

    psycopg.connect(address, connect_timeout=PATIENCE_S).close()


def ask_redis(address: str) -> None:
    """Ping, once."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once = Retry(NoBackoff(), 0)
    limits: dict[str, Any] = {"socket_timeout": PATIENCE_S, "socket_connect_timeout": PATIENCE_S, "retry": once}
    with redis.Redis.from_url(address, **limits) as client:
        client.ping()


def ask_rabbitmq(address: str) -> None:
    """Log in, once."""
    from kombu import Connection

    from config import broker

    broker.install()
    options = broker.configuration("", address)
    with Connection(address, ssl=options.get("broker_use_ssl", False), connect_timeout=PATIENCE_S) as connection:
        connection.ensure_connection(max_retries=0, timeout=PATIENCE_S)


ASK: dict[str, Callable[[str], None]] = {
    "DATABASE_URL": ask_postgres,
    "REDIS_URL": ask_redis,
    "BROKER_URL": ask_rabbitmq,
}
SERVER = {"DATABASE_URL": ("PostgreSQL", 5432), "REDIS_URL": ("Redis", 6379), "BROKER_URL": ("RabbitMQ", 5672)}
INSTEAD = {"BROKER_URL": "the queues are in Redis"}
"""What the engine does without a setting, unless it runs a server of its own."""


def sentence(name: str, address: str, problem: Exception) -> str:
    """Say which setting leads nowhere, why, and what to do; of its address only host and port are repeated."""
    parts = urlsplit(address)
    product, port = SERVER[name]
    # libpq's further lines ask what its first has said.
    reason = str(problem).strip().partition("\n")[0] or type(problem).__name__
    reason = secrets_of(parts).sub("***", reason)
    otherwise = INSTEAD.get(name, f"the engine runs a {product} of its own")
    where = f"{parts.hostname or 'localhost'}:{parts.port or port}"
    return (
        f"{name}: {product} at {where} cannot be used ({reason[:REASON_MAX].rstrip('.')}). "
        f"Start that server or correct {name}; without it {otherwise}."
    )


def secrets_of(parts: SplitResult) -> re.Pattern[str]:
    """Match the password anywhere, user and query values as whole words: as they are written, and as they are meant."""
    words = [parts.username or "", *(pair.partition("=")[2] for pair in parts.query.split("&"))]
    anywhere = map(re.escape, spellings([parts.password or ""]))
    whole = (rf"(?<!\w){re.escape(word)}(?!\w)" for word in spellings(words))
    # Without any of them this matches nothing.
    return re.compile("|".join([*anywhere, *whole]) or r"(?!)")


def spellings(texts: list[str]) -> list[str]:
    """Return these texts with and without their percent signs, the longest first: one may be a part of another."""
    return sorted({*texts, *map(unquote, texts)} - {""}, key=len, reverse=True)
