"""`python -m deploy.role ROLE`: one role in the foreground, as a container's only process.

It does what `manage.py up` has that role do (deploy/roles.py), with stores of somebody else's.
"""

import argparse
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from config import env, values
from deploy import alone, metrics, rights, roles
from deploy.liveness import Question, Readiness, Turns, end_when_stuck
from deploy.options import CannotStart
from deploy.ports import address, bound
from routing.away import why

ROLES = ("api", *roles.WORKERS, *roles.SINGLE, "migrate")
DOORS = ("api", "flower")
"""Roles that are asked from outside whether they serve."""
STORES = ("DATABASE_URL", "REDIS_URL")
NEEDS = {
    "api": (*STORES, "ENGINE_SECRET_KEY", "ENGINE_KEY_PEPPER"),
    # Webhooks' secrets are derived from the pepper.
    "dlq": (*STORES, "ENGINE_KEY_PEPPER"),
    "flower": ("REDIS_URL", "ENGINE_ADMIN_PASSWORD"),
    "migrate": ("DATABASE_URL",),
}
"""Settings without which a role does not start; the others need the stores."""
ASK_AGAIN_S = 1.0
ASKED_WITHIN_S = 2.0
POSTGRES_WITHIN_S = 300.0
STOPPED_EARLY = 128 + signal.SIGTERM

Settings = Mapping[str, Any]


def main(arguments: list[str]) -> int:
    """Run the role until it is asked to stop; returns the exit code."""
    options = parse(arguments)
    role: str = options.role
    # The first process of a container ignores what it does not handle: a stop during the imports would have no effect.
    # A migration cut short must not count as done; every other role ends as it was asked to.
    signal.signal(signal.SIGTERM, lambda *_: end(STOPPED_EARLY if role == "migrate" else 0))
    os.environ["ENGINE_ROLE"] = role
    try:
        settings = read_settings(role)
        run(role, settings, options.users)
    except (values.BadSetting, CannotStart) as problem:
        print(problem, file=sys.stderr)
        return 2
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def end(code: int) -> NoReturn:
    """End at once: what is left are idle threads, for which the interpreter would wait seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; a wrong one ends with a sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.role",
        description="Run one role of the engine in the foreground, with the stores of DATABASE_URL and REDIS_URL.",
    )
    parser.add_argument("role", choices=ROLES)
    what = "files with the addresses of the database users that `migrate` makes and gives their rights"
    parser.add_argument("--users", nargs="+", type=Path, default=(), metavar="FILE", help=what)
    return parser.parse_args(arguments)


def read_settings(role: str) -> dict[str, Any]:
    """Check every setting, and that those are given which only `up` can do without.

    Raises BadSetting.
    """
    settings = env.load()
    missing = [name for name in NEEDS.get(role, STORES) if settings[name] is None]
    if missing:
        raise values.BadSetting(
            f"{', '.join(missing)}: the role {role} needs {'it' if len(missing) == 1 else 'them'}; "
            "give each in the environment, or as <NAME>_FILE the path of a file that holds it"
        )
    if role != "migrate" and not settings["ENGINE_METRICS_PORT"]:
        raise values.BadSetting("ENGINE_METRICS_PORT=0: a single role answers health checks there; give it a port")
    if settings["ENGINE_SECRET_KEY"] is None:
        # It signs nothing, and Django wants one.
        os.environ["ENGINE_SECRET_KEY"] = secrets.token_urlsafe()
    return settings


def run(role: str, settings: Settings, users: Sequence[Path] = ()) -> None:
    """Prepare and do the role's work.

    Raises CannotStart.
    """
    if role == "migrate":
        prepare()
        await_postgres(lambda what: print(f"migrations: {what}", flush=True))
        roles.migrate(settings["ENGINE_ADMIN_PASSWORD"])(lambda word: print(f"migrations: {word}", flush=True))
        if users:
            print(f"migrations: {rights.grant(file.read_text().strip() for file in users)}", flush=True)
        return
    readiness, turns = Readiness(), Turns()
    port = settings["ENGINE_METRICS_PORT"]
    listener = bound(settings["ENGINE_METRICS_HOST"], port, "ENGINE_METRICS_PORT")
    listener.listen(metrics.BACKLOG)
    asked = questions(role, settings, readiness, turns)
    metrics.serve(listener, asked)
    prepare()
    if role != "flower":
        await_schema(readiness.waits)
    begin = work(role, settings, turns)
    if role in DOORS:
        readiness.come()
        end_when_stuck(asked["/healthz"])
    begin(readiness.come)


def prepare() -> None:
    """Set up Django; the rest of the imports is each role's own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()


def work(role: str, settings: Settings, turns: Turns) -> Callable[[Callable[..., object]], None]:
    """Return what does the role's work.

    Raises CannotStart.
    """
    host = settings["ENGINE_HOST"]
    if role == "api":
        listener = bound(host, settings["ENGINE_PORT"], "ENGINE_PORT")
        listener.listen(2048)
        return roles.api(listener, settings["ENGINE_SERVER"])
    if role == "flower":
        return roles.flower(host, settings["ENGINE_FLOWER_PORT"], roles.admin_password(settings))
    if role == "beat":
        return beat_alone(settings["DATABASE_URL"])
    # Beside others on one machine it has a name of its own; in a container it is the only process, and always number 1.
    return roles.worker(role, os.getpid(), settings["ENGINE_WORKER_THREADS"], turns)


def beat_alone(address: str) -> Callable[[Callable[..., object]], None]:
    """Beat while no other does; one that stands by is ready: it does all that is asked of it."""

    def run(ready: Callable[..., object]) -> None:
        ready()
        alone.keep_lock(alone.wait_for_lock(address), alone.leave)
        roles.beat(ready)

    return run


def questions(role: str, settings: Settings, readiness: Readiness, turns: Turns) -> dict[str, Question]:
    """Return what the role answers to health checks: the doors by what they serve, the others by themselves."""
    host = address(settings["ENGINE_HOST"])
    if role == "api":
        port, header = settings["ENGINE_PORT"], roles.host_header(settings, host)
        return door(readiness, ask(host, port, "/healthz", header), ask(host, port, "/readyz", header))
    if role == "flower":
        served = ask(host, settings["ENGINE_FLOWER_PORT"], "/healthcheck", host)
        return door(readiness, served, served)
    return {"/healthz": turns.stuck, "/readyz": lambda: readiness.question() or turns.stuck()}


def door(readiness: Readiness, lives: Question, ready: Question) -> dict[str, Question]:
    """Ask at the door once it is open; before that it waits for others, which is no illness."""
    return {
        "/healthz": lambda: "" if readiness.question() else lives(),
        "/readyz": lambda: readiness.question() or ready(),
    }


def ask(host: str, port: int, path: str, header: str) -> Question:
    """Make the question whether this address answers with 200."""

    def question() -> str:
        status = roles.http_status(host, port, path, header, ASKED_WITHIN_S)
        return "" if status == 200 else f"{path} on port {port} answers {status or 'nothing'}"

    return question


def await_postgres(waits: Callable[[str], None]) -> None:
    """Return once Postgres takes connections, or after POSTGRES_WITHIN_S: what fails then says why."""
    deadline = time.monotonic() + POSTGRES_WITHIN_S
    while (what := unreachable()) and time.monotonic() < deadline:
        waits(what)
        time.sleep(ASK_AGAIN_S)


def unreachable() -> str:
    """Say why Postgres cannot be used; nothing when it can."""
    from django.db import Error, connection

    try:
        connection.ensure_connection()
    except Error as problem:
        return f"Postgres cannot be used yet ({why(problem)})"
    finally:
        connection.close()
    return ""


def await_schema(waits: Callable[[str], None]) -> None:
    """Return once Postgres has this version's tables; tells `waits` what is in the way."""
    from django.db import connections

    while what := lacking():
        waits(what)
        time.sleep(ASK_AGAIN_S)
    connections.close_all()


def lacking() -> str:
    """Say why this version cannot work on the database yet; nothing when it can."""
    from django.db import Error, connection
    from django.db.migrations.executor import MigrationExecutor
    from psycopg_pool import PoolTimeout

    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (Error, PoolTimeout) as problem:
        connection.close()
        return f"Postgres cannot be used yet ({why(problem)})"
    return f"{len(plan)} migrations are not applied yet; the role migrate does that" if plan else ""


if __name__ == "__main__":
    end(main(sys.argv[1:]))
