"""What holds for every test."""

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from routing import epochs
from routing.store import redis
from tests.orders.bench import Bench, forget_wiring, seed_catalogue
from tests.together import Together

# An example's time says how busy the machine is, not whether the code is right.
hypothesis_settings.register_profile("engine", deadline=None)
hypothesis_settings.load_profile("engine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one process run what shares an engine; how else tests are handed out is as asked."""
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


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
    redis().flushdb()
    epochs.forget()
    epochs.recent.forget()
    seed_catalogue()
    yield Bench()
    redis().flushdb()
