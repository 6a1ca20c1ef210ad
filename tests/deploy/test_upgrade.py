"""An upgrade keeps every order: stores as an earlier version left them, and this version started on them."""

import subprocess
import sys
from contextlib import ExitStack

import httpx
import psycopg
import pytest

from config.env import ROOT
from tests.chaos.grounds.postgres import Postgres
from tests.chaos.grounds.redis import Redis
from tests.deploy.upgrade import fill_postgres, fill_redis, left
from tests.system import NO_DELAYS, System, eventually, outside

pytestmark = pytest.mark.system

DONE_S = 90.0
"""The sweep comes by once a minute at most."""
LEFT = left()
ORDERS = LEFT["orders"]
FINISHED = ("confirmed-0", "confirmed-1", "failed", "cancelled", "expired", "filled-limit")
SENT = ("submitted-0", "submitted-1")
LOST = ("dropped", "submitted-limit")


@pytest.fixture(params=["kept", pytest.param("lost", marks=pytest.mark.long)], scope="module")
def engine(request, tmp_path_factory):
    """This version, on the stores of the earlier one; its Redis kept, or lost on the way."""
    folder = tmp_path_factory.mktemp("upgrade")
    (folder / "stores").mkdir()
    with ExitStack() as stack:
        postgres, redis = Postgres(folder / "stores"), Redis(folder / "stores")
        for store in (postgres, redis):
            stack.callback(store.close)
            store.start()
        for app, name in dict(LEFT["migrations"]).items():
            manage(postgres.url, "migrate", app, name)
        with postgres.connect() as db:
            fill_postgres(db, LEFT["postgres"])
        if request.param == "kept":
            client = redis.client()
            fill_redis(client, LEFT["redis"])
            client.close()
        stores = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
        system = System({**NO_DELAYS, **stores, "MOCK_LAUNCH_EVERY_S": "0", **PASSWORD}, (), folder)
        stack.callback(system.stop)
        system.start()
        yield system


PASSWORD = {"ENGINE_ADMIN_PASSWORD": "who upgrades has one"}
"""With it `up` makes the administrator of a database that is not its own, and the key of this machine."""


def manage(database, *arguments):
    """Run a management command on a database."""
    environ = {**outside(), "DATABASE_URL": database, "ENGINE_NO_VENV": "1"}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def read(engine, name, what=""):
    """Read an order, or something of it."""
    answer = httpx.get(f"{engine.url}/api/orders/{ORDERS[name]}{what}", headers=engine.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ends(engine, name, status="confirmed"):
    """Wait until an order has ended so; return its events."""
    eventually(lambda: read(engine, name)["status"] == status, DONE_S, f"{name} is {status}: {read(engine, name)}")
    return read(engine, name, "/events")["events"]


def attempts(name, rows):
    """Return an order's attempts among rows."""
    return sorted((row for row in rows if row["order_id"] == ORDERS[name]), key=lambda row: row["number"])


def states(engine, name):
    """Return the states of an order's attempts."""
    with psycopg.connect(engine.settings["DATABASE_URL"]) as db:
        rows = db.execute("SELECT state FROM orders_attempt WHERE order_id = %s ORDER BY number", [ORDERS[name]])
        return [state for (state,) in rows]


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_order_stays_as_it_ended_with_all_its_events(engine, name):
    told = sorted(
        (row["seq"], row["status"]) for row in LEFT["postgres"]["orders_orderevent"] if row["order_id"] == ORDERS[name]
    )
    assert [(event["seq"], event["status"]) for event in read(engine, name, "/events")["events"]] == told
    assert read(engine, name)["status"] == told[-1][1]


@pytest.mark.parametrize("name", SENT)
def test_an_order_whose_transaction_lands_later_is_confirmed_with_it_and_no_other_is_made(engine, name):
    (attempt,) = attempts(name, LEFT["postgres"]["orders_attempt"])
    events = ends(engine, name)
    assert events[-1]["txHash"] == attempt["signature"] and states(engine, name) == ["landed"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("name", LOST)
def test_an_order_whose_transaction_was_lost_is_tried_again_and_executed_once(engine, name):
    events = ends(engine, name)
    assert states(engine, name) == ["expired", "landed"]
    assert [event["status"] for event in events][-4:] == ["routing", "building", "submitted", "confirmed"]


def test_an_order_that_was_only_accepted_is_executed(engine):
    ends(engine, "pending")
    assert states(engine, "pending") == ["landed"]


def test_resting_orders_rest_on_their_terms_and_can_be_cancelled_amended_and_filled(engine):
    assert {read(engine, name)["status"] for name in ("resting-0", "resting-1", "amended", "sniper")} == {"pending"}
    assert read(engine, "amended")["limitPrice"] == "950" and read(engine, "amended")["seq"] == 2
    assert (
        httpx.delete(f"{engine.url}/api/orders/{ORDERS['resting-0']}", headers=engine.headers).json()["status"]
        == "cancelled"
    )
    seq = read(engine, "resting-1")["seq"]
    where = f"{engine.url}/api/orders/{ORDERS['resting-1']}"
    changed = httpx.patch(where, json={"limitPrice": "1"}, headers={"If-Match": f'"{seq}"', **engine.headers})
    assert changed.status_code == 200, changed.text
    ends(engine, "resting-1")
    assert states(engine, "resting-1") == ["landed"]
    assert (
        httpx.delete(f"{engine.url}/api/orders/{ORDERS['sniper']}", headers=engine.headers).json()["status"]
        == "cancelled"
    )


def test_a_dead_letter_can_still_be_replayed(engine):
    with psycopg.connect(engine.settings["DATABASE_URL"]) as db:
        (letter,) = db.execute("SELECT order_id::text, verdict FROM orders_deadletter").fetchall()
    assert letter == (ORDERS["failed"], "safe")
