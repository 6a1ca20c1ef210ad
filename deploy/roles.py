"""What each process of the engine does after the fork: API, workers, beat, Flower, and the migration before them."""

import gc
import importlib
import logging
import os
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from deploy.child import Ready
from deploy.liveness import Turns, end_when_stuck, watch_worker
from deploy.memory import give_back
from deploy.servers import write_secret

WORKERS = ("order", "limit", "sniper", "stream", "dbsync", "dlq")
"""One queue, one file in workers/ and one process each; more with --scale."""
SINGLE = ("beat", "flower")
"""Two beats would send every tick twice; two Flowers would want one port."""
LINK_S = 3600
"""How long the link to the desk that a start prints may wait to be used."""
ADMIN = "admin"
COLLECT_AFTER = (10_000, 20, 20)
"""Objects made before the collector looks for cycles among them, and its turns before older ones are looked at.  A
batch of orders makes thousands, hardly any in a cycle."""
FILES_MAX = 20_000
"""File descriptors of the API: sockets, requests and connections that wait, each at its maximum.  Many systems begin
with 1,024, which that many idle connections would use up."""
ACCEPTED_AT_ONCE = 8
"""How often the API listens on its one socket.  libuv, below uvloop, accepts one connection in a turn of its loop and
listener; under load a turn takes long, and clients would wait for seconds until the kernel tries again for them."""


def preload() -> None:
    """Import everything the roles need, once; the forks share it.  Opens no connection and starts no thread."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    for name in (
        *("config.celery", "config.asgi"),
        *(
            "celery.apps.beat",
            "celery.apps.worker",
            "celery.bin.celery",
            "celery.concurrency.thread",
        ),
        *("celery.worker.components", "celery.worker.consumer", "kombu.transport.redis", "flower.command"),
        *("config.beat", "django.core.management.commands.migrate", "psycopg_pool"),
        *("uvicorn.loops.uvloop", "uvicorn.lifespan.on", "uvicorn.protocols.websockets.websockets_sansio_impl"),
        *("deploy.connections", "deploy.requests", "deploy.sockets"),
    ):
        importlib.import_module(name)
    from django.urls import get_resolver

    _ = get_resolver().url_patterns
    celery_app().loader.import_default_modules()
    celery_app().finalize()


def celery_app() -> Any:
    """The Celery application."""
    return importlib.import_module("config.celery").app


def become(role: str) -> None:
    """Have what differs by role, pool sizes and the name in log lines, and was read before the fork, fit this role.

    The settings are not read anew as a whole: every page of memory that a fork touches is no longer shared.
    """
    os.environ["ENGINE_ROLE"] = role
    gc.set_threshold(*COLLECT_AFTER)
    logging.captureWarnings(True)
    from django.conf import settings
    from django.db import connections

    from config import logs
    from config.settings import database

    settings.ROLE = role
    settings.DATABASES = {"default": database(role)}
    logs.process["worker"] = role
    # Django keeps what it read and the (closed) connections it made of that; both are forgotten here.
    connections.settings = connections.configure_settings(None)
    for alias in connections:
        with suppress(AttributeError):
            del connections[alias]


def api(listener: socket.socket, server: str) -> Callable[[Ready], None]:
    """The HTTP and WebSocket server, on a socket the launcher holds: while it restarts, clients wait, not fail."""

    def run(_: Ready) -> None:
        if server == "daphne":
            run_daphne(listener)
        become("api")
        give_back()
        from uvicorn import Config

        from deploy.connections import Server
        from deploy.requests import Requests
        from deploy.sockets import Socket

        allow_files()
        config = Config(
            "config.asgi:application",
            loop="uvloop",
            http=Requests,
            ws=Socket,
            ws_per_message_deflate=False,
            # Above the API's own limit, so that a body just too large is refused in words.
            ws_max_size=128 * 1024,
            access_log=False,
            log_config=None,
            lifespan="auto",
            backlog=2048,
            # Longer than proxies and clients keep an idle connection: a server that closes first may do so in the
            # moment in which a request is on its way, and under load that moment is long.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
        Server(config).run(sockets=[listener, *(listener.dup() for _ in range(ACCEPTED_AT_ONCE - 1))])

    return run


def allow_files() -> None:
    """Raise this process's limit of file descriptors, as far as it may."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if most == resource.RLIM_INFINITY else min(FILES_MAX, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def run_daphne(listener: socket.socket) -> None:
    """Replace this process: Daphne's reactor was made before the fork and cannot be shared."""
    os.environ["ENGINE_ROLE"] = "api"
    listener.set_inheritable(True)
    command = ["-m", "daphne", "--fd", str(listener.fileno()), "--verbosity", "0", "deploy.proxied:application"]
    os.execv(sys.executable, [sys.executable, *command])


def worker(queue: str, number: int, threads: int, turns: Turns) -> Callable[[Ready], None]:
    """One Celery worker on one queue; `number` tells it from the others of its queue on this machine."""

    def run(ready: Ready) -> None:
        become(queue)
        give_back()
        # Whose findings a worker does not even print; commands, `migrate` among them, run and print them.
        os.environ["CELERY_SKIP_CHECKS"] = "1"
        watch_worker(celery_app(), turns)
        end_when_stuck(turns.stuck)
        from celery import signals

        signals.worker_ready.connect(lambda **_: ready(), weak=False)
        running = celery_app().Worker(
            hostname=f"{queue}-{number}@{socket.gethostname()}",
            queues=[queue],
            pool="threads",
            concurrency=threads,
            loglevel="INFO",
            quiet=True,
            # Events feed Flower; gossip and mingle would have every worker listen to all others for nothing.
            task_events=True,
            without_mingle=True,
            without_gossip=True,
        )
        running.start()
        sys.exit(running.exitcode)

    return run


def beat(ready: Ready) -> None:
    """The clock that sends the periodic tasks kept in the database."""
    become("beat")
    from celery import signals
    from celery.apps.beat import Beat

    class Clock(Beat):
        """Beat that ends between two ticks.

        The stock handler writes the schedule from within the signal: one that comes during a query waits for ever for
        the connection that its own thread holds.
        """

        def install_sync_handler(self, service: Any) -> None:
            """Have SIGTERM and SIGINT end the loop, which writes the schedule on its way out."""
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: service.stop())

    signals.beat_init.connect(lambda **_: ready(), weak=False)
    Clock(
        app=celery_app(),
        scheduler="config.beat:Schedule",
        loglevel="INFO",
        pidfile=None,
        quiet=True,
    ).run()


def flower(host: str, port: int, password: str) -> Callable[[Ready], None]:
    """Flower, behind the admin's password: it can revoke tasks and stop workers."""

    def run(_: Ready) -> None:
        become("flower")
        celery_app().start(
            [
                *("--quiet", "flower", f"--address={host}", f"--port={port}"),
                *(f"--basic-auth={ADMIN}:{password}", "--persistent=False"),
            ],
        )

    return run


def migrate(password: str | None, *, key: bool = False) -> Callable[[Ready], None]:
    """Bring the database up to date and, given a password, make the administrator; `key`: and its API key."""

    def run(ready: Ready) -> None:
        become("migrate")
        from django.core.management import call_command
        from django.db import connection
        from django.db.migrations.executor import MigrationExecutor

        from orders.operations import groups

        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            call_command("migrate", interactive=False, verbosity=1)
        groups.make()
        if password is not None:
            make_admin(password)
            if key:
                make_key()
        ready(f"{len(plan)} applied" if plan else "up to date")

    return run


def make_admin(password: str) -> None:
    """Create the administrator; one that exists keeps its password, which may have been changed in the admin."""
    from django.contrib.auth import get_user_model

    users: Any = get_user_model().objects
    if not users.filter(username=ADMIN).exists():
        users.create_superuser(ADMIN, password=password)


def make_key() -> None:
    """Make the key of this machine's own programs, unless the one in the data dir holds, and a link to the desk."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django_otp import user_has_device

    from orders.access import callers, keys, tickets

    admin = get_user_model().objects.get(username=ADMIN)
    path: Path = settings.DATA_DIR / "api-key"
    if not (path.exists() and keys.digest(path.read_text().strip()) in keys.read().callers):
        path.unlink(missing_ok=True)
        write_secret(path, keys.issue("this machine", admin, list(callers.Scope), by="up", open_orders_max=None)[1])
    link: Path = settings.DATA_DIR / "desk-link"
    link.unlink(missing_ok=True)
    if user_has_device(admin):
        return
    write_secret(link, tickets.issue(callers.of_user(admin), "login", LINK_S))


def admin_password(settings: Mapping[str, Any]) -> str:
    """The administrator's password: as given, else made on first use and readable by its owner alone."""
    if settings["ENGINE_ADMIN_PASSWORD"]:
        return str(settings["ENGINE_ADMIN_PASSWORD"])
    path: Path = settings["ENGINE_DATA_DIR"] / "admin-password"
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(12))
    return path.read_text().strip()


def host_header(settings: Mapping[str, Any], otherwise: str) -> str:
    """A Host header that the API on this machine answers to."""
    return next((name for name in settings["ENGINE_ALLOWED_HOSTS"] if name != "*"), otherwise).lstrip(".")


def http_status(host: str, port: int, path: str, header: str, within_s: float = 0.3) -> int:
    """The status an HTTP GET returns, asked with that Host header; 0 when nobody answers in time."""
    connection = HTTPConnection(host, port, timeout=within_s)
    try:
        connection.request("GET", path, headers={"Host": header})
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()
