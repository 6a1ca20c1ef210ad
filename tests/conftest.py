"""What holds for every test."""

import pytest
import structlog
from django.db import connection
from hypothesis import settings as hypothesis_settings

from routing.store import redis
from tests.orders.bench import Bench, empty_redis, forget_wiring, seed_catalogue
from tests.together import Together

# An example's time says how busy the machine is, not whether the code is right.
hypothesis_settings.register_profile("engine", deadline=None)
hypothesis_settings.load_profile("engine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one process run what shares an engine; how else tests are handed out is as asked."""
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """End connections that are in no pool, so that the test database can be dropped."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(autouse=True)
def own_log_context():
    """Let no test's lines carry what another bound."""
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def quiet_market(settings):
    """A sandbox without delays, drops, rejections or movement."""
    settings.MOCK_QUOTE_DELAY_MS = (0, 0)
    settings.MOCK_CONFIRM_DELAY_MS = (0, 0)
    settings.MOCK_PRICE_VARIATION_PCT = (0, 0)
    settings.CONFIRM_POLL_MS = 10
    forget_wiring()
    yield settings
    forget_wiring()


@pytest.fixture
def bench(transactional_db, quiet_market):
    """Empty stores with the catalogue in place, and an engine to drive by hand."""
    empty_redis()
    seed_catalogue()
    yield Bench()
    redis().flushdb()
