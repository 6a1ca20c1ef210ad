"""The run's own stores can be hurt in every way it needs, and come back."""

import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import redis as client

from tests.chaos.grounds.clock import library
from tests.chaos.grounds.postgres import Postgres
from tests.chaos.grounds.redis import Redis
from tests.system import eventually

with_clock = pytest.mark.skipif(library() is None, reason="libfaketime is neither installed nor in TEST_PACKAGES")


@pytest.fixture(scope="module")
def folder():
    # Not pytest's own: PostgreSQL's account must be able to pass through.
    with tempfile.TemporaryDirectory(prefix="order-engine-grounds-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.fixture(scope="module")
def redis(folder):
    server = Redis(folder)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres(folder):
    server = Postgres(folder)
    server.start()
    with server.connect() as db:
        db.execute("CREATE TABLE kept (n int)")
    yield server
    server.close()


def write(redis, seconds):
    """Write a number again and again for so long; return what was written when."""
    written, number = [], 0
    until = time.monotonic() + seconds
    connection = redis.client()
    while time.monotonic() < until:
        number += 1
        connection.set("number", number)
        written.append((time.monotonic(), number))
        time.sleep(0.005)
    return written


def test_redis_rolled_back_lacks_what_was_written_last_and_nothing_older(redis):
    redis.client().set("old", "here")
    written = write(redis, 1.0)
    assert redis.written(0.4) > 0
    died_at = time.monotonic()
    assert redis.roll_back(0.4) > 0
    redis.spawn()
    redis.finish()
    assert redis.client().get("old") == b"here"
    number = int(redis.client().get("number"))
    (at,) = (at for at, one in written if one == number)
    assert 0.3 < died_at - at < 0.7


def test_redis_killed_has_all_it_was_told(redis):
    (_, last) = write(redis, 0.2)[-1]
    redis.die()
    redis.spawn()
    redis.finish()
    assert int(redis.client().get("number")) == last


def test_redis_emptied_knows_nothing(redis):
    redis.client().set("old", "here")
    redis.empty()
    assert redis.client().dbsize() == 0


def test_redis_frozen_answers_nothing_until_it_goes_on(redis):
    redis.freeze()
    with pytest.raises(client.RedisError):
        client.Redis.from_url(redis.url, socket_timeout=0.2).ping()
    redis.thaw()
    assert eventually(lambda: redis.client().ping(), 10, "it goes on")


@with_clock
def test_redis_clock_steps_and_steps_back(redis):
    def off() -> float:
        seconds, micros = redis.client().time()
        return seconds + micros / 1e6 - time.time()

    redis.clock.set(-4.0)
    eventually(lambda: off() < -3.5, 10, "its clock is behind")
    redis.clock.set(0.0)
    eventually(lambda: abs(off()) < 0.5, 10, "its clock is right again")


@with_clock
def test_postgres_clock_steps_ahead(postgres):
    def off() -> float:
        with postgres.connect() as db:
            (epoch,) = db.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        return float(epoch) - time.time()

    postgres.clock.set(2.0)
    eventually(lambda: off() > 1.5, 10, "its clock is ahead")


def test_postgres_killed_keeps_what_was_committed(postgres):
    with postgres.connect() as db:
        db.execute("INSERT INTO kept VALUES (1)")
    postgres.die()
    postgres.spawn()
    postgres.finish()
    with postgres.connect() as db:
        assert db.execute("SELECT count(*) FROM kept").fetchone() == (1,)


def test_postgres_read_only_refuses_writes_for_a_while(postgres):
    postgres.refuse_writes(True)
    with psycopg.connect(postgres.url, autocommit=True) as db:
        refused = (psycopg.errors.ReadOnlySqlTransaction,)
        eventually(lambda: raised(db, refused), 10, "writes are refused")
        postgres.refuse_writes(False)
        eventually(lambda: not raised(db, refused), 10, "writes are taken")


def raised(db, errors):
    try:
        db.execute("INSERT INTO kept VALUES (2)")
    except errors:
        return True
    return False


def test_postgres_terminates_every_connection(postgres):
    with psycopg.connect(postgres.url, autocommit=True) as db:
        assert postgres.terminate() >= 1
        with pytest.raises(psycopg.OperationalError):
            db.execute("SELECT 1")


def test_postgres_frozen_answers_nothing_until_it_goes_on(postgres):
    with psycopg.connect(postgres.url, autocommit=True) as db:
        postgres.freeze()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.url, connect_timeout=1)
        postgres.thaw()
        assert db.execute("SELECT 1").fetchone() == (1,)
