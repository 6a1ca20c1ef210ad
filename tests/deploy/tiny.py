"""Runs a few tiny processes under the real supervisor, for test_supervisor.py; not a test itself."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deploy.child import Child, NotReady, Ready
from deploy.restarts import Restarts
from deploy.signals import Interrupted, Signals
from deploy.supervisor import Supervisor

FOLDER = Path(sys.argv[1])


def note(text: str) -> None:
    """Add a line to the record the test reads."""
    with (FOLDER / "record").open("a") as record:
        record.write(f"{text}\n")


def steady(name: str) -> Callable[[Ready], None]:
    """A role that ends when asked to."""

    def run(ready: Ready) -> None:
        def leave(*_: object) -> None:
            note(f"{name} asked to end")
            sys.exit(0)

        signal.signal(signal.SIGTERM, leave)
        note(f"{name} {os.getpid()}")
        ready()
        while True:
            time.sleep(60)

    return run


def deaf(ready: Ready) -> None:
    """A role that does not end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(f"deaf {os.getpid()}")
    ready()
    while True:
        time.sleep(60)


def doomed(_: Ready) -> None:
    """A role that cannot start."""
    note("doomed began")
    print("the reason it failed")
    raise SystemExit(7)


RUNS = {name: steady(name) for name in ("first", "second", "twin-1", "twin-2")} | {"deaf": deaf, "doomed": doomed}


def main() -> None:
    """Supervise the named roles; end them one after another when asked to."""
    signals = Signals()
    supervisor = Supervisor(lambda text: print(text, flush=True), signals)
    children = [Child(name, RUNS[name], FOLDER / f"{name}.log", clean=signals.forget) for name in sys.argv[2:]]
    try:
        supervisor.start(children)
        for child in supervisor.wait_ready(10):
            print(f"{child.name} is ready", flush=True)
        signals.raising = False
        restarts = Restarts(FOLDER / "restarts", supervisor, children)
        print("watching", flush=True)
        supervisor.watch(restarts.look, 0.05)
        for child in children:
            for late in supervisor.stop([child], 0.5):
                print(f"{late} was killed", flush=True)
    except NotReady as problem:
        print(f"not ready: {problem}", flush=True)
        sys.exit(1)
    except Interrupted:
        supervisor.kill(children)
        print("all killed", flush=True)


main()
