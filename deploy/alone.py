"""Exactly one active beat: the others wait for its lock in Postgres and take over when its session ends.

An advisory lock belongs to a session: DATABASE_URL must lead to PostgreSQL itself or to a pooler in session mode.
The holder asks every second and gives up after WITHIN_S without an answer; the server ends the session of one it
cannot reach only later (IDLE_S and three probes), so two never tick at once.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

LOCK = 0x656E_6769_6E65
"""The advisory lock's number: "engine"."""
EVERY_S = 1.0
WITHIN_S = 3
IDLE_S = 5
LIMITS = {
    "connect_timeout": WITHIN_S,
    "keepalives_idle": IDLE_S,
    "tcp_user_timeout": WITHIN_S * 1000,
    "application_name": "beat's lock",
    "options": f"-c statement_timeout={WITHIN_S}s"
    f" -c tcp_keepalives_idle={IDLE_S} -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
}


def wait_for_lock(address: str) -> Any:
    """Return the connection that holds the lock, once nobody else does."""
    told = ""
    while True:
        connection, reason = try_lock(address)
        if connection is not None:
            return connection
        if reason != told:
            log.info("standing by", reason=reason)
        told = reason
        time.sleep(EVERY_S)


def try_lock(address: str) -> tuple[Any, str]:
    """Return a connection that holds the lock, or None and why not."""
    import psycopg

    from deploy.external import sentence

    try:
        connection = psycopg.connect(address, autocommit=True, **LIMITS)  # type: ignore[arg-type]
        taken = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
    except psycopg.Error as problem:
        return None, sentence("DATABASE_URL", address, problem)
    if taken and taken[0]:
        return connection, ""
    connection.close()
    return None, "another beat is active"


def keep_lock(connection: Any, lost: Callable[[], None]) -> None:
    """Ask the lock's session every second, on a thread of its own; call `lost` when it has ended."""
    threading.Thread(target=ask_until_lost, args=(connection, lost), name="beat's lock", daemon=True).start()


def ask_until_lost(connection: Any, lost: Callable[[], None]) -> None:
    """Return after the session has ended."""
    import psycopg

    try:
        while True:
            connection.execute("SELECT 1")
            time.sleep(EVERY_S)
    except psycopg.Error:
        lost()


def leave() -> None:
    """End this process at once, even if its loop is waiting for something: another beat may be active by now."""
    log.error("beat's lock was lost with its Postgres session, exiting to restart as a standby")
    os._exit(1)
