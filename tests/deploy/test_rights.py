"""The users of both stores: each role does its work as its own user, and no more than that."""

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import ProgrammingError, connection
from psycopg.errors import InsufficientPrivilege
from websockets.sync.client import connect

from config.env import ROOT
from deploy import redis_rights, rights, role
from deploy.options import CannotStart
from deploy.servers import free_port
from orders.models import Act, ArchivedOrder, JournalRow, Order, OrderEvent, Pause
from orders.operations import retention
from orders.stores import webhooks
from routing.models import StoreEpoch
from routing.store import redis
from tests.bearer import bearer
from tests.deploy.conftest import eventually
from tests.deploy.test_role import address, asked, environ, started  # noqa: F401 - the fixture is found by its name
from tests.factories import AttemptFactory, DeadLetterFactory, OrderEventFactory, OrderFactory
from tests.orders import bench

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def users(environ, tmp_path):  # noqa: F811
    """Have `migrate` make the users and give them their rights; returns each one's address."""
    owner = address(environ)
    place = owner.partition("://")[2].partition("@")[2]
    known = {name: f"postgresql://{name}:{uuid4().hex}@{place}" for name in rights.USERS}
    files = [tmp_path / name for name in known]
    for file in files:
        file.write_text(f"{known[file.name]}\n")
    try:
        assert role.parse(["migrate", "--users", *map(str, files)]).users == files
        assert "engine_api" in rights.grant(known.values())
        yield known
    finally:
        with connection.cursor() as cursor:
            for name in rights.USERS:
                cursor.execute(f"DROP OWNED BY {name}")
                cursor.execute(f"DROP ROLE {name}")
            cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")


@contextmanager
def refused():
    with pytest.raises(InsufficientPrivilege):
        yield


def test_every_user_works_for_roles_and_every_role_has_one():
    served = [name for names in rights.USERS.values() for name in names]
    assert sorted(served) == sorted(set(role.ROLES) - {"migrate", "flower"})


def test_no_user_changes_a_definition_or_empties_a_table(users):
    for name, url in users.items():
        with psycopg.connect(url, autocommit=True) as db:
            for statement in (
                "ALTER TABLE orders_order ADD COLUMN x int",
                "DROP TABLE orders_setaside",
                "TRUNCATE orders_orderevent",
                "CREATE TABLE mine (x int)",
                "CREATE INDEX ON orders_order (pair)",
                "DROP TRIGGER orders_event_leaves ON orders_orderevent",
                "CREATE ROLE another",
                "DELETE FROM django_migrations",
            ):
                with refused():
                    db.execute(statement)
                    pytest.fail(f"{name}: {statement}")


def test_an_event_that_stands_is_neither_deleted_nor_altered(users):
    event = OrderEventFactory(order=OrderFactory(), seq=1, epoch=StoreEpoch.objects.create(run="a", reason="b").pk)
    StoreEpoch.objects.create(run="a", reason="its epoch is over, and it stands all the same")
    for name in users:
        with psycopg.connect(users[name], autocommit=True) as db:
            with refused():
                db.execute("DELETE FROM orders_orderevent")
            with refused():
                db.execute("UPDATE orders_orderevent SET status = 'failed'")
            with refused():
                db.execute("UPDATE orders_orderevent SET epoch = epoch - 1")
    assert OrderEvent.objects.get().status == event.status


def test_an_event_that_a_later_epoch_replaced_may_be_withdrawn(users):
    before, after = (StoreEpoch.objects.create(run=run, reason="b").pk for run in "ab")
    OrderEventFactory(order=OrderFactory(), seq=1, epoch=before)
    with psycopg.connect(users["engine_api"]) as db:
        assert db.execute("DELETE FROM orders_orderevent").rowcount == 1
        db.execute(
            "INSERT INTO orders_orderevent (order_id, seq, epoch, status, at, attempt, facts)"
            " SELECT id, 1, %s, 'pending', now(), 0, '{}' FROM orders_order",
            [after],
        )
    assert OrderEvent.objects.get().epoch == after


def test_workers_see_nobodys_password_and_place_no_orders(users):
    for name in set(users) - {"engine_api"}:
        with psycopg.connect(users[name], autocommit=True) as db:
            for statement in ("SELECT password FROM auth_user", "SELECT * FROM django_session"):
                with refused():
                    db.execute(statement)
            with refused():
                db.execute("INSERT INTO orders_order (id) VALUES (gen_random_uuid())")
    with psycopg.connect(users["engine_api"], autocommit=True) as db:
        for statement in (
            "DELETE FROM orders_order",
            "DELETE FROM orders_attempt",
            "INSERT INTO orders_attempt DEFAULT VALUES",
            "UPDATE orders_act SET outcome = ''",
            "DELETE FROM orders_act",
            "UPDATE orders_seal SET head = ''",
            "DELETE FROM orders_seal",
            "INSERT INTO routing_ledgerentry DEFAULT VALUES",
        ):
            with refused():
                db.execute(statement)


def test_rights_that_were_added_by_hand_are_taken_again(users):
    with connection.cursor() as cursor:
        cursor.execute("GRANT DELETE ON orders_order TO engine_api")
    rights.grant(users.values())
    with psycopg.connect(users["engine_api"], autocommit=True) as db, refused():
        db.execute("DELETE FROM orders_order")


def test_each_user_needs_an_address():
    with pytest.raises(CannotStart, match="engine_api, engine_workers, engine_dbsync, engine_dlq"):
        rights.grant(["postgresql://engine_api:secret@somewhere/engine"])


def test_every_table_somebody_writes_to_is_named(users):
    inserts = "SELECT table_name FROM information_schema.role_table_grants WHERE privilege_type = 'INSERT'"
    with connection.cursor() as cursor:
        cursor.execute(f"{inserts} AND grantee = ANY(%s)", [list(users)])
        written = {name for (name,) in cursor.fetchall()}
    assert set(connection.introspection.table_names()) - written == {"django_migrations", "django_content_type"}


@contextmanager
def acting_as(user):
    """Have this thread's connection do no more than the user may."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {user}")
        try:
            yield
        finally:
            cursor.execute("RESET ROLE")


@pytest.mark.usefixtures("users")
def test_the_dead_letter_worker_retires_orders_and_forgets_archived_ones():
    order = OrderFactory(status="failed")
    for made in (AttemptFactory, DeadLetterFactory):
        made(order=order)
    OrderEventFactory(order=order, seq=1)
    with acting_as("engine_dlq"):
        assert len(retention.take([order.pk])) == 1
        assert (Order.objects.count(), OrderEvent.objects.count(), ArchivedOrder.objects.count()) == (0, 0, 1)
        assert retention.forget(0) == 1


@pytest.mark.usefixtures("users")
def test_the_dead_letter_worker_delivers_webhooks_and_knows_which_accounts_are_closed():
    owner = User.objects.create(username="alice")
    webhooks.make(owner.pk, "https://bot.example.com/", all_accounts=False, most=1)
    JournalRow.objects.create(position=1, owner_id=owner.pk, order_ids=[uuid4()], firsts=[1], lasts=[1], epochs=[1])
    with acting_as("engine_dlq"):
        (held,) = webhooks.claim(1, slow=False)
        assert held.entitled and webhooks.advance(held, 1, 204, 5)
        with refused_to_django():
            User.objects.get()


@contextmanager
def refused_to_django():
    with pytest.raises(ProgrammingError, match="permission denied"):
        yield


@pytest.mark.usefixtures("users")
def test_an_operator_works_in_the_admin_as_the_apis_user(admin_client):
    with acting_as("engine_api"):
        admin_client.post("/admin/orders/pause/add/", {"what": "pair:SOL-USDC", "state": "paused", "reason": "a look"})
        row = Pause.objects.get()
        admin_client.post("/admin/orders/pause/", {"action": "resume_selected", "_selected_action": [row.pk]})
        assert not Pause.objects.exists()
        assert Act.objects.count() == 2


@pytest.fixture
def redis_users(tmp_path):
    """Make the Redis users; returns the file of each one's address, and lists afterwards what they were refused."""
    place = settings.REDIS_URL.rpartition("@")[2]
    files = {name: tmp_path / f"redis_url_{name}" for name in redis_rights.USERS}
    for name, file in files.items():
        file.write_text(f"redis://{redis_rights.name_of(name)}:{uuid4().hex}@{place}\n")
    lines = redis_rights.acl(redis_rights.read(files.values())).splitlines()[1:]
    for line in lines:
        redis().execute_command("ACL", "SETUSER", *line.split()[1:])
    try:
        yield files
    finally:
        redis().execute_command("ACL", "DELUSER", *map(redis_rights.name_of, files))


def refusals():
    """List what Redis has refused its users, and forget it."""
    found = [f"{one['username']}: {one['context']} {one['reason']} {one['object']}" for one in redis().acl_log()]
    redis().acl_log_reset()
    return found


@pytest.fixture
def own_users(environ, redis_users, tmp_path):  # noqa: F811
    """Have the role `migrate` fill a database and make the users; returns what each role gets."""
    owner = urlsplit(address(environ))._replace(path="/rights")
    place = owner.netloc.rpartition("@")[2]
    files = {name: tmp_path / name for name in rights.USERS}
    for name, file in files.items():
        file.write_text(f"postgresql://{name}:{uuid4().hex}@{place}/rights\n")
    (tmp_path / "owner").write_text(owner.geturl())
    bench.empty_redis()
    with psycopg.connect(address(environ), autocommit=True) as db:
        db.execute("CREATE DATABASE rights")
        try:
            given = {**environ, "DATABASE_URL_FILE": str(tmp_path / "owner")}
            migrate = [sys.executable, "-m", "deploy.role", "migrate", "--users", *map(str, files.values())]
            subprocess.run(migrate, cwd=ROOT, env=given, check=True, timeout=240)
            yield {
                served: {
                    **environ,
                    "DATABASE_URL_FILE": str(files[name]),
                    "REDIS_URL_FILE": str(redis_users[served]),
                    "ENGINE_METRICS_PORT": str(free_port()),
                }
                for name, roles in rights.USERS.items()
                for served in roles
            } | {
                "flower": {
                    **{key: value for key, value in environ.items() if key != "DATABASE_URL_FILE"},
                    "REDIS_URL_FILE": str(redis_users["flower"]),
                    "ENGINE_METRICS_PORT": str(free_port()),
                }
            }
        finally:
            db.execute("DROP DATABASE rights WITH (FORCE)")
            for name in files:
                db.execute(f"DROP ROLE IF EXISTS {name}")
            bench.empty_redis()


def call(environ, method, path, body=None, headers=None):  # noqa: F811
    """Ask the API."""
    at = f"http://127.0.0.1:{environ['ENGINE_PORT']}{path}"
    return httpx.request(method, at, json=body, headers={**bearer(environ["key"]), **(headers or {})}, timeout=20)


def manage(environ, *arguments):  # noqa: F811
    """Run a command where a role runs."""
    command = [sys.executable, "manage.py", *arguments]
    given = {**environ, "ENGINE_NO_VENV": "1"}
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False, timeout=120)


def key_of(environ):  # noqa: F811
    """Make a key as the API's user may, for the administrator that `migrate` has made."""
    done = manage(environ, "apikeys", "create", "tests", "--owner", "admin")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
SNIPER = {
    **{"type": "sniper", "tokenIn": "SOL", "tokenOut": "WIF", "amount": "0.5"},
    "trigger": [{"kind": "liquidity", "atLeast": "1"}, {"kind": "volume", "atLeast": "1", "windowS": 60}],
}


def test_every_role_does_its_work_as_its_own_user(own_users, tmp_path):
    """Orders of every type, one that fails for good, a halt and a lost Redis, with all nine roles."""
    refusals()
    api = own_users["api"]
    quick = {"MOCK_QUOTE_DELAY_MS": "50-100", "MOCK_LAUNCH_EVERY_S": "3"}
    beat = None
    with ExitStack() as running:
        for name, given in own_users.items():
            # What each has in a container, and no more.
            others = {"ENGINE_SECRET_KEY", "ENGINE_KEY_PEPPER"} - set(role.NEEDS.get(name, ()))
            apis = {f"{one}_FILE" for one in others}
            secrets = apis if name == "flower" else {"ENGINE_ADMIN_PASSWORD_FILE"} | apis
            mine = {key: value for key, value in given.items() if key not in secrets}
            last = running.enter_context(started(name, {**mine, **quick}, tmp_path, f"{name}.log"))
            beat = last if name == "beat" else beat
        api["key"] = key_of(api)
        for given in own_users.values():
            eventually(lambda at=given: asked(at, "/readyz")[0] == 200, 120)
        eventually(lambda: call(api, "GET", "/readyz").json().get("status") == "ready", 60)
        going = call(api, "POST", "/api/orders/execute", {"type": "market", **ORDER}).json()["orderId"]
        far = {"type": "limit", **ORDER, "limitPrice": "100000"}
        resting = call(api, "POST", "/api/orders/execute", far).json()["orderId"]
        known = {"If-Match": call(api, "GET", f"/api/orders/{resting}").headers["ETag"]}
        changed = call(api, "PATCH", f"/api/orders/{resting}", {"limitPrice": "90000"}, known)
        assert changed.status_code == 200, changed.text
        assert call(api, "DELETE", f"/api/orders/{resting}").status_code == 200
        near, huge = {"type": "limit", **ORDER, "limitPrice": "1"}, {"type": "market", **ORDER, "amount": "50000000"}
        for order in (SNIPER, near, huge):
            estimated = call(api, "POST", "/api/orders/estimate", order)
            placed = call(api, "POST", "/api/orders/execute", order)
            assert (estimated.status_code, placed.status_code) == (200, 202), estimated.text + placed.text
        with connect(f"ws://127.0.0.1:{api['ENGINE_PORT']}/ws/orders") as watching:
            watching.send(json.dumps({"ticket": call(api, "POST", "/api/tickets").json()["ticket"]}))
            watching.send(json.dumps({"follow": [going]}))
            eventually(lambda: going in watching.recv(20), 20)
        assert "engine_queue_depth" in call(api, "GET", "/metrics?part=stores").text
        with psycopg.connect((tmp_path / "owner").read_text(), autocommit=True) as db:

            def found(query):
                return [value for (value,) in db.execute(query).fetchall()]

            ended = f"SELECT status FROM orders_order WHERE id IN ('{going}', '{resting}') ORDER BY status"
            eventually(lambda: found(ended) == ["cancelled", "confirmed"], 60)
            sealed = f"SELECT kind FROM orders_seal WHERE order_id IN ('{going}', '{resting}')"
            eventually(lambda: found(sealed) == ["order", "order"], 60)
            eventually(lambda: found("SELECT count(*) FROM orders_deadletter")[0] >= 1, 60)
            # Whatever role's container is at hand can stop trading; the API's lets it go on.
            halt = ("halt", "everything", "--reason", "a look")
            for given, words in ((own_users["stream"], halt), (api, ("resume", "everything"))):
                done = manage(given, *words)
                assert done.returncode == 0, done.stderr
            acts = "SELECT what FROM orders_act JOIN orders_seal s ON s.act_id = orders_act.id ORDER BY orders_act.id"
            eventually(lambda: found(acts) == ["make API key", "halt", "resume"], 60)
            redis().flushdb()
            again = call(api, "POST", "/api/orders/execute", {"type": "market", **ORDER}).json()["orderId"]
            eventually(lambda: found(f"SELECT status FROM orders_order WHERE id = '{again}'") == ["confirmed"], 60)
            pages = f"http://127.0.0.1:{own_users['flower']['ENGINE_FLOWER_PORT']}/broker"
            assert httpx.get(pages, auth=("admin", "a password of these tests"), timeout=20).status_code == 200
            # Beat writes what it has sent when it ends.
            beat.terminate()
            assert beat.wait(30) == 0
            assert found("SELECT count(*) FROM django_celery_beat_periodictask WHERE total_run_count > 0")[0] >= 5
    for name in own_users:
        assert "permission denied" not in (tmp_path / f"{name}.log").read_text(), name
    assert refusals() == []
