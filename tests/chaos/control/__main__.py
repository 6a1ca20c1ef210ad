"""Start the control: an API, two order workers, and one process for what waits; what dies is started again."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import uvicorn

from deploy.child import Child, Ready
from deploy.signals import Signals
from deploy.supervisor import Supervisor
from tests.chaos.control import waiting
from tests.chaos.control.api import application
from tests.chaos.control.tables import TABLES, TOKENS
from tests.chaos.control.tasks import app

ENDS_WITHIN_S = 5.0
TOKEN = "INSERT INTO routing_token VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


def serve(_: Ready) -> None:
    """Serve the API."""
    uvicorn.run(application, port=int(os.environ["ENGINE_PORT"]), ws="websockets-sansio", log_level="warning")


def work(number: int) -> Callable[[Ready], None]:
    """Return what one order worker does."""
    common = (
        "--pool",
        "threads",
        "--concurrency",
        "8",
        "--without-mingle",
        "--without-gossip",
        "--loglevel",
        "WARNING",
    )
    return lambda _: app.worker_main(["worker", "-Q", "order", "-n", f"order-{number}@%h", *common])


def make_tables() -> None:
    """Make tables and tokens, unless they are there."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as db:
        db.execute(TABLES)
        for symbol, (mint, decimals) in TOKENS.items():
            db.execute(TOKEN, [symbol, mint, decimals])


def main() -> None:
    """Run until told to stop."""
    folder = Path(os.environ["ENGINE_DATA_DIR"])
    make_tables()
    signals = Signals()
    runs = {"api": serve, "order-1": work(1), "order-2": work(2), "limit": lambda _: waiting.watch()}
    children = [Child(name, run, folder / f"{name}.log", clean=signals.forget) for name, run in runs.items()]

    def tell() -> None:
        known = {"pid": os.getpid(), "processes": {child.name: child.pid for child in children}}
        (folder / "run.json.new").write_text(json.dumps(known))
        (folder / "run.json.new").replace(folder / "run.json")

    supervisor = Supervisor(print, signals, changed=tell)
    supervisor.start(children)
    signals.raising = False
    supervisor.watch(lambda: None)
    supervisor.stop(children, ENDS_WITHIN_S)


if __name__ == "__main__":
    main()
