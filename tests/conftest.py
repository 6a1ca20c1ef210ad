"""What holds for every test."""

import pytest
import structlog
from asgiref.sync import SyncToAsync
from django.db import connection, connections
from django.test import Client, TransactionTestCase
from hypothesis import settings as hypothesis_settings

from orders.access import keys
from routing.store import redis
from tests.keyring import BEARER, ring
from tests.orders.bench import Bench, empty_redis, forget_wiring, seed_catalogue
from tests.together import Together, longest_first

# An example's time says how busy the machine is, not whether the code is right.
hypothesis_settings.register_profile("engine", deadline=None)
hypothesis_settings.load_profile("engine")


EMPTY = """
DO $$
DECLARE one record;
BEGIN
    -- Without the triggers that keep history.
    SET LOCAL session_replication_role = replica;
    FOR one IN
        SELECT oid::regclass AS name, pg_relation_size(oid) > 1000000 AS large FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        IF one.large THEN
            EXECUTE format('TRUNCATE %s CASCADE', one.name);
        ELSE
            EXECUTE format('DELETE FROM %s', one.name);
        END IF;
    END LOOP;
END $$
"""
"""Django's flush truncates every table and makes all permissions anew: 180 ms after each test, against 5."""


@pytest.fixture(scope="session", autouse=True)
def quick_flush():
    """Empty the tables after a test that committed, and fill the catalogue as migrations do."""

    def empty(_):
        with connection.cursor() as cursor:
            cursor.execute(EMPTY)
        seed_catalogue()
        # What tests have run on this thread left it with a connection, of the few that the pool has.
        SyncToAsync.single_thread_executor.submit(connections.close_all).result(10)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one process run what shares an engine; how else tests are handed out is as asked."""
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items):
    """Begin with what takes longest."""
    items.sort(key=lambda item: longest_first(item.nodeid))


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


@pytest.fixture(autouse=True)
def known_key():
    """Let the key that tests send be known, without a row; those of the keys themselves have rows of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys.keys, "read", ring)
        keys.keys.forget()
        yield
    keys.keys.forget()


@pytest.fixture
def client():
    """Django's test client, which sends that key."""
    return Client(headers=BEARER)


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
