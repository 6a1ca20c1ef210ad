"""A pytest plugin that gives the tests real stores of their own: embedded, not durable, gone afterwards.

Loaded by `-p tests.stores`, so that the addresses are set before pytest-django reads the settings.  TEST_DATABASE_URL
and TEST_REDIS_URL name servers to use instead.  The stores of a running `manage.py up` are never touched.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.servers import StoreFailed
from deploy.stores import Stores

PREFIX = "order-engine-tests-"
FUNDS = {"MOCK_FUNDS": "10000000000000"}
"""Enough for every test and benchmark that is not about balances."""
started: list[Stores] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start the stores before pytest-django configures Django; not for a mere question such as --version."""
    options = early_config.known_args_namespace
    # A process that only hands tests out to others, which have stores of their own, needs none.
    hands_out = bool(getattr(options, "numprocesses", None)) and "PYTEST_XDIST_WORKER" not in os.environ
    if not (hands_out or options.help or options.version or early_config.option.__dict__.get("markers")):
        prepare()
    yield


def pytest_unconfigure() -> None:
    """Stop the stores, also when the run was interrupted."""
    finish()


def prepare() -> None:
    """Point the settings at stores for tests and at an empty data dir."""
    given = {name: os.environ.get(f"TEST_{name}") for name in ("DATABASE_URL", "REDIS_URL")}
    remove_left_behind()
    data_dir = Path(tempfile.mkdtemp(prefix=PREFIX))
    stores = Stores(data_dir, external=frozenset(name for name, url in given.items() if url), durable=False)
    started.append(stores)
    atexit.register(finish)
    try:
        urls = stores.start()
    except StoreFailed as failure:
        finish()
        pytest.exit(f"the stores for the tests cannot start: {failure}", returncode=3)
    os.environ.update({name: url for name, url in given.items() if url} | urls)
    # Tests that look into queues look into Redis.
    os.environ["BROKER_URL"] = ""
    os.environ |= {"ENGINE_DATA_DIR": str(data_dir), **FUNDS}


def finish() -> None:
    """Stop the stores and delete their data; harmless when called again."""
    while started:
        stores = started.pop()
        stores.kill()
        shutil.rmtree(stores.data_dir, ignore_errors=True)


def remove_left_behind() -> None:
    """Delete what a run that was killed left; the lock of a live one is held."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lock"):
        try:
            with lock.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue
