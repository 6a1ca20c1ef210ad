"""`manage.py up`: the whole engine on one machine, from stores to Flower, started at once and stopped in order."""

import gc
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy import banner, metrics, roles
from deploy.child import Child, NotReady, Ready
from deploy.external import Unreachable, reach
from deploy.liveness import Turns
from deploy.options import CannotStart, Options, parse, read_settings
from deploy.ports import address, claim_ports, located
from deploy.replacing import refuse_torn
from deploy.restarts import Restarts
from deploy.servers import PRIVATE, StoreFailed, last_lines
from deploy.signals import Interrupted, Signals
from deploy.stores import Stores
from deploy.supervisor import Supervisor
from deploy.terminal import Logs, announce, fail, journal, say, show, step

READY_WITHIN_S = 60.0
DOORS_END_WITHIN_S = 4.0
WORKERS_END_WITHIN_S = 6.0
EXPLAINED_LINES = 20


def main(arguments: list[str]) -> int:
    """Run the engine until Ctrl-C or SIGTERM; returns the exit code."""
    options = parse(arguments)
    os.umask(PRIVATE)
    signals = Signals()
    launcher = Launcher(options, signals)
    code = 0
    try:
        launcher.start()
        signals.raising = False
        launcher.watch()
    except Interrupted:
        pass
    except (CannotStart, StoreFailed, Unreachable, NotReady) as problem:
        fail(explain(problem))
        code = problem.code if isinstance(problem, CannotStart) else 1
    except Exception:
        fail(traceback.format_exc())
        code = 1
    return launcher.end(code)


class Launcher:
    """One run of `up`."""

    def __init__(self, options: Options, signals: Signals) -> None:
        self.options = options
        self.signals = signals
        self.settings: dict[str, Any] = {}
        self.stores: Stores | None = None
        self.supervisor = Supervisor(say, signals, changed=self._tell)
        self.doors: list[Child] = []
        self.workers: list[Child] = []
        self.listener: socket.socket | None = None
        self.metrics: dict[str, socket.socket] = {}
        self.migration: Child | None = None
        self.logs: Logs | None = None
        self.began = time.monotonic()

    def start(self) -> None:
        """Bring everything up; raises CannotStart, StoreFailed, Unreachable, NotReady or Interrupted."""
        with step("settings"):
            self.settings, external = read_settings(self.options)
            self.stores = Stores(self.settings["ENGINE_DATA_DIR"], external=external)
            self.stores.open()
            if not self.options.fresh:
                refuse_torn(self.stores)
            journal.path = self.stores.data_dir / "logs" / "launcher.log"
            serves = self.options.scale.get("api") != 0
            self.listener = claim_ports(self.settings, api=serves, flower=self.options.flower)
            reach(self.settings, external)
        with step("application") as note:
            os.environ.update(self.stores.begin(fresh=self.options.fresh))
            import_application(self.stores.data_dir)
            note("imported")
        with step("stores") as note:
            self.stores.finish()
            note(", ".join(f"{server.name} on port {server.port}" for server in self.stores.servers) or "external")
        for remark in self.stores.notes:
            show(f"  {'':<12} {remark}")
        for server in self.stores.servers:
            self.supervisor.keep(server)
        self._migrate(external)
        self._start_roles()
        self._banner(external)

    def watch(self) -> None:
        """Keep it running until asked to stop."""
        assert self.logs and self.stores
        logs = self.logs
        restarts = Restarts(self.stores.data_dir / "restarts", self.supervisor, [*self.workers, *self.doors])

        def tick() -> None:
            logs.show()
            # A full disk, or a folder that somebody removed, must not stop the supervision.
            with suppress(OSError):
                restarts.look()

        self.supervisor.watch(tick)

    def end(self, code: int) -> int:
        """Stop everything in order: doors, workers, stores.  A second Ctrl-C ends it all at once."""
        migration = [self.migration] if self.migration else []
        everything = [*migration, *self.doors, *self.workers]
        started = time.monotonic()
        try:
            if any(child.pid for child in everything):
                announce("\nstopping …")
            late = self.supervisor.stop([*migration, *self.doors], DOORS_END_WITHIN_S)
            late += self.supervisor.stop(self.workers, WORKERS_END_WITHIN_S)
            if self.stores:
                self.stores.stop()
        except Interrupted:
            self.supervisor.kill(everything)
            if self.stores:
                self.stores.kill()
            announce("killed")
            return code
        if late:
            announce(f"killed processes that did not end in time: {', '.join(late)}")
        if self.stores and self.stores.urls:
            announce(f"stopped in {time.monotonic() - started:.1f} s")
        return code

    def _migrate(self, external: frozenset[str]) -> None:
        # A database of the user's own gets an administrator only with a password of the user's own.
        makes = "DATABASE_URL" not in external or self.settings["ENGINE_ADMIN_PASSWORD"]
        password = roles.admin_password(self.settings)
        self.migration = self._child("migrate", roles.migrate(password if makes else None, key=True))
        with step("migrations") as note:
            self.migration.spawn()
            while self.migration.poll() is None:
                self.signals.wait(0.1)
            self.migration.is_ready()
            if self.migration.poll() != 0:
                raise NotReady(self.migration, "failed")
            note(self.migration.word)

    def _start_roles(self) -> None:
        self._offer_metrics()
        self.doors, self.workers = self._doors(), self._workers()
        children = [*self.workers, *self.doors]
        self.logs = Logs([child.log for child in children], verbose=self.options.verbose)
        started = time.monotonic()
        self.supervisor.start(children)
        for child in self.supervisor.wait_ready(READY_WITHIN_S):
            announce(f"  {child.name:<12} ready  {time.monotonic() - started:.1f} s")

    def _doors(self) -> list[Child]:
        settings = self.settings
        host, port = address(settings["ENGINE_HOST"]), settings["ENGINE_PORT"]
        doors = [self._child("beat", roles.beat)]
        if self.listener:
            header = roles.host_header(settings, host)
            run = roles.api(self.listener, settings["ENGINE_SERVER"])
            doors += [
                self._child(
                    name, run, lambda: roles.http_status(host, port, "/readyz", header) == 200, keeps_listener=True
                )
                for name in numbered("api", self.options.scale.get("api", 1))
            ]
        if self.options.flower:
            flower_port = settings["ENGINE_FLOWER_PORT"]
            password = roles.admin_password(settings)
            serve = roles.flower(settings["ENGINE_HOST"], flower_port, password)
            doors.append(self._child("flower", serve, lambda: roles.http_status(host, flower_port, "/", host) > 0))
        return doors

    def _offer_metrics(self) -> None:
        """Give every process a listener of its own; daphne, which replaces its process, tells its counts at the API."""
        settings, scale = self.settings, self.options.scale
        listening = ("api", *roles.WORKERS) if settings["ENGINE_SERVER"] == "uvicorn" else roles.WORKERS
        names = [name for role in listening for name in numbered(role, scale.get(role, 1))]
        single = roles.SINGLE if self.options.flower else ("beat",)
        self.metrics = metrics.listen(
            settings["ENGINE_METRICS_PORT"], [*names, *single], settings["ENGINE_METRICS_HOST"]
        )
        with suppress(OSError):
            metrics.tell(
                settings["ENGINE_DATA_DIR"] / "metrics.json", self._api_url().removeprefix("http://"), self.metrics
            )

    def _workers(self) -> list[Child]:
        threads = self.settings["ENGINE_WORKER_THREADS"]
        return [
            self._child(name, roles.worker(queue, index, threads, Turns()))
            for queue in roles.WORKERS
            for index, name in enumerate(numbered(queue, self.options.scale.get(queue, 1)), 1)
        ]

    def _child(
        self,
        name: str,
        run: Callable[..., None],
        answers: Callable[[], bool] | None = None,
        *,
        keeps_listener: bool = False,
    ) -> Child:
        def clean() -> None:
            self.signals.forget()
            if self.stores:
                self.stores.forget_lock()
            if self.listener and not keeps_listener:
                self.listener.close()
            for other, listener in self.metrics.items():
                if other != name:
                    listener.close()

        def live(ready: Ready) -> None:
            if name in self.metrics:
                metrics.serve(self.metrics[name])
            run(ready)

        log = self.settings["ENGINE_DATA_DIR"] / "logs" / f"{name}.log"
        return Child(name, live, log, answers=answers, clean=clean)

    def _tell(self) -> None:
        """Write where everything is, after each change; a full disk must not stop the supervision."""
        if self.stores:
            with suppress(OSError):
                pids = {child.name: child.pid for child in [*self.workers, *self.doors]}
                self.stores.tell(pids, self._api_url())

    def _api_url(self) -> str:
        """Where the API answers; nothing when it was left out."""
        at = f"http://{located(self.settings['ENGINE_HOST'])}:{self.settings['ENGINE_PORT']}"
        return at if self.listener else ""

    def _banner(self, external: frozenset[str]) -> None:
        took = f"ready in {time.monotonic() - self.began:.1f} s"
        journal.keep(took)
        made = "DATABASE_URL" not in external or self.settings["ENGINE_ADMIN_PASSWORD"] is not None
        show(f"\n{took}\n\n{banner.of(self.settings, self._api_url(), admin=made, flower=self.options.flower)}")


def import_application(data_dir: Path) -> None:
    """Import everything once, in a state that can be forked: no thread, no connection, nothing left to collect."""
    os.environ["ENGINE_ROLE"] = "launcher"
    # WhiteNoise warns on the terminal about a folder that only `collectstatic` would make.
    (data_dir / "static").mkdir(exist_ok=True)
    roles.preload()
    from django.db import connections

    connections.close_all()
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        raise CannotStart(f"importing the application started a thread ({names}): a fork would lose it")
    # Objects made so far move out of the collector's sight, so its passes do not copy shared pages.
    gc.collect()
    gc.freeze()


def numbered(name: str, count: int) -> Iterable[str]:
    """Names for so many processes of a role: `order`, or `order-1`, `order-2`."""
    return [name] if count == 1 else [f"{name}-{index}" for index in range(1, count + 1)]


def explain(problem: Exception) -> str:
    """The problem in words, with the end of the log of a process that failed."""
    if not isinstance(problem, NotReady):
        return str(problem)
    log = problem.process.log
    lines = "\n".join(f"  {line}" for line in last_lines(log, EXPLAINED_LINES))
    return f"{problem}. The last lines of {log}:\n{lines}"
