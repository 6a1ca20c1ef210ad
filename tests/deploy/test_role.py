"""One role as a process of its own: it waits for the database, answers for its health, and ends when asked to."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model

from config.env import PREFIXES, ROOT
from deploy import alone, role, roles
from deploy.liveness import STUCK_AFTER_S, Readiness, Turns
from deploy.servers import free_port
from orders.operations import heartbeats
from routing.store import redis
from tests.deploy.conftest import eventually
from tests.stores import FUNDS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def environ(tmp_path):
    """What a container gets: the test database, whose tables are there, as files."""
    options = settings.DATABASES["default"]
    place = f"{options['USER']}:{options['PASSWORD']}@{options['HOST']}:{options['PORT']}"
    secrets = {
        "DATABASE_URL": f"postgresql://{place}/{options['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "ENGINE_SECRET_KEY": "a key of these tests",
        "ENGINE_KEY_PEPPER": "a pepper of these tests",
        "ENGINE_ADMIN_PASSWORD": "a password of these tests",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(f"{value}\n")
    others = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES) and k not in secrets}
    return {
        **others,
        **FUNDS,
        **{f"{name}_FILE": str(tmp_path / name) for name in secrets},
        "ENGINE_DATA_DIR": str(tmp_path / "data"),
        "ENGINE_PORT": str(free_port()),
        "ENGINE_FLOWER_PORT": str(free_port()),
        "ENGINE_METRICS_PORT": str(free_port()),
    }


def address(environ):
    """The database a role is pointed to."""
    return Path(environ["DATABASE_URL_FILE"]).read_text().strip()


@contextmanager
def started(name, environ, tmp_path, log="log"):
    """Run a role; what is still there afterwards is killed."""
    with (tmp_path / log).open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.role", name], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def asked(environ, path):
    """Ask a role's own listener; (0, "") while it does not answer."""
    connection = HTTPConnection("127.0.0.1", int(environ["ENGINE_METRICS_PORT"]), timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    except (OSError, HTTPException):
        return 0, ""
    finally:
        connection.close()


def health(environ):
    """Run what a container's health check runs."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.health"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["api", "dlq", "beat", "flower"])
def test_a_role_becomes_ready_tells_its_counts_and_ends_by_itself(name, environ, tmp_path):
    assert health(environ).returncode == 1
    with started(name, environ, tmp_path) as process:
        eventually(lambda: asked(environ, "/readyz") == (200, "ok") or process.poll() is not None, 60)
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert asked(environ, "/healthz") == (200, "ok")
        assert "process_cpu_seconds_total" in asked(environ, "/metrics")[1]
        assert (health(environ).returncode, health(environ).stdout) == (0, "ok\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (tmp_path / "log").read_text()


def test_a_role_waits_for_the_migration_and_is_not_ill_meanwhile(environ, tmp_path):
    with psycopg.connect(address(environ), autocommit=True) as db:
        row = db.execute("DELETE FROM django_migrations WHERE app = 'workers' RETURNING app, name, applied").fetchall()
        try:
            with started("dlq", environ, tmp_path) as process:
                eventually(lambda: "not applied yet" in asked(environ, "/readyz")[1] or process.poll() is not None, 60)
                assert asked(environ, "/readyz") == (
                    503,
                    f"{len(row)} migrations are not applied yet; the role migrate does that",
                )
                assert asked(environ, "/healthz") == (200, "ok")
                assert health(environ).returncode == 1
                put_back(db, row)
                eventually(lambda: asked(environ, "/readyz")[0] == 200, 60)
        finally:
            put_back(db, row)


def put_back(db, rows):
    """Have the migrations applied again, as far as anybody can tell."""
    for app, name, applied in rows:
        db.execute(
            "INSERT INTO django_migrations (app, name, applied) SELECT %s, %s, %s "
            "WHERE NOT EXISTS (SELECT FROM django_migrations WHERE app = %s AND name = %s)",
            (app, name, applied, app, name),
        )


def test_a_second_beat_stands_by_and_takes_over_when_the_first_loses_its_session(environ, tmp_path):
    other = {**environ, "ENGINE_METRICS_PORT": str(free_port())}
    with started("beat", environ, tmp_path, "first") as first:
        eventually(lambda: holders(environ) == 1, 60)
        with started("beat", other, tmp_path, "second"):
            eventually(lambda: "another beat is active" in (tmp_path / "second").read_text(), 60)
            # One that stands by does all that is asked of it.
            assert asked(other, "/readyz") == (200, "ok")
            assert holders(environ) == 1
            held_by = terminate_holder(environ)
            eventually(lambda: first.poll() is not None, 30)
            assert first.returncode == 1
            assert "lock was lost" in (tmp_path / "first").read_text()
            eventually(lambda: holders(environ) == 1, 30)
            assert terminate_holder(environ) != held_by


HOLDERS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = %s"
)


def holders(environ):
    """Count the beats that may tick."""
    with psycopg.connect(address(environ), autocommit=True) as db:
        return len(db.execute(HOLDERS, (alone.LOCK,)).fetchall())


def terminate_holder(environ):
    """End the session that holds the lock, as a failover of Postgres does; returns whose it was."""
    with psycopg.connect(address(environ), autocommit=True) as db:
        pid = db.execute(HOLDERS, (alone.LOCK,)).fetchone()[0]
        db.execute("SELECT pg_terminate_backend(%s)", (pid,))
        return pid


def test_migrate_says_what_it_did_and_ends(environ, tmp_path):
    with started("migrate", environ, tmp_path) as process:
        assert process.wait(120) == 0
    assert (tmp_path / "log").read_text().splitlines()[-1] == "migrations: up to date"
    with psycopg.connect(address(environ)) as db:
        assert {name for (name,) in db.execute("SELECT name FROM auth_group")} >= {"viewer", "operator", "owner"}


def test_migrate_makes_the_admin_once_and_leaves_a_changed_password_alone():
    users = get_user_model().objects
    roles.make_admin("the first password")
    user = users.get(username="admin")
    assert user.is_superuser and user.check_password("the first password")
    user.set_password("changed in the admin")
    user.save()
    for given in ("the first password", "another one"):
        roles.make_admin(given)
        assert users.get(username="admin").check_password("changed in the admin")


def test_migrate_waits_for_its_database_and_says_so(environ, tmp_path):
    known = urlsplit(address(environ))
    (tmp_path / "DATABASE_URL").write_text(known._replace(path="/later").geturl())
    with psycopg.connect(known.geturl(), autocommit=True) as db:
        try:
            with started("migrate", environ, tmp_path) as process:
                eventually(lambda: "migrations: Postgres cannot be used yet" in (tmp_path / "log").read_text(), 60)
                db.execute("CREATE DATABASE later")
                assert process.wait(120) == 0
        finally:
            db.execute("DROP DATABASE IF EXISTS later WITH (FORCE)")
    assert re.fullmatch(r"migrations: \d+ applied", (tmp_path / "log").read_text().splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("order", "DATABASE_URL"),
        ("api", "ENGINE_SECRET_KEY"),
        ("api", "ENGINE_KEY_PEPPER"),
        ("dlq", "ENGINE_KEY_PEPPER"),
        ("flower", "ENGINE_ADMIN_PASSWORD"),
    ],
)
def test_what_only_up_can_do_without_is_asked_for(environ, name, missing):
    del environ[f"{missing}_FILE"]
    said = f"{missing}: the role {name} needs it"
    done = subprocess.run(
        [sys.executable, "-m", "deploy.role", name],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.startswith(f"setting error: {said}")) == (2, True), done.stderr


def test_a_stop_is_heeded_while_a_role_waits_for_postgres(environ, tmp_path):
    port = free_port()
    (tmp_path / "DATABASE_URL").write_text(f"postgresql://u:p@127.0.0.1:{port}/x")
    with started("dlq", environ, tmp_path) as process:
        eventually(lambda: "Postgres cannot be used yet" in asked(environ, "/readyz")[1], 60)
        # Whoever reaches the port may ask; the log, which is not for everybody, has the address.
        assert re.fullmatch(r"Postgres cannot be used yet \([a-z ]+\)", asked(environ, "/readyz")[1])
        eventually(lambda: f"port {port}" in (tmp_path / "log").read_text())
        assert asked(environ, "/healthz") == (200, "ok")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_migration_that_was_stopped_does_not_count_as_done(environ, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        (tmp_path / "DATABASE_URL").write_text(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/x")
        with started("migrate", environ, tmp_path) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 128 + signal.SIGTERM
            connection.close()


def test_a_loop_is_stuck_only_when_it_should_turn():
    now = [100.0]
    turns = Turns(lambda: now[0])
    assert turns.stuck() == ""
    turns.turned()
    now[0] += STUCK_AFTER_S
    assert turns.stuck() == ""
    now[0] += 1
    assert turns.stuck() == f"the worker's loop has been blocked for {STUCK_AFTER_S + 1:.0f} s"
    turns.rests()
    assert turns.stuck() == ""


def test_a_worker_that_stands_still_is_ill_and_one_that_waits_is_not_ready():
    turns, readiness = Turns(lambda: clock[0]), Readiness()
    clock = [0.0]
    settings_ = {"ENGINE_HOST": "127.0.0.1"}
    asked_ = role.questions("order", settings_, readiness, turns)
    assert (asked_["/healthz"](), asked_["/readyz"]()) == ("", "starting")
    readiness.come()
    turns.turned()
    assert (asked_["/healthz"](), asked_["/readyz"]()) == ("", "")
    clock[0] += STUCK_AFTER_S + 1
    assert "blocked" in asked_["/healthz"]() and "blocked" in asked_["/readyz"]()


def test_a_workers_consumer_tells_of_its_turns_and_rests_without_a_broker():
    class Timer:
        def call_repeatedly(self, every_s, act):
            self.act = act
            return self

        def cancel(self):
            self.act = None

    class App:
        steps = {"consumer": set()}

    class Consumer:
        timer = Timer()

    from deploy.liveness import watch_worker

    clock = [0.0]
    turns = Turns(lambda: clock[0])
    watch_worker(App, turns)
    (step,) = App.steps["consumer"]
    watch = step(Consumer)
    watch.start(Consumer)
    clock[0] = STUCK_AFTER_S + 1
    assert turns.stuck()
    Consumer.timer.act()
    assert not turns.stuck()
    clock[0] *= 3
    watch.stop(Consumer)
    assert (turns.stuck(), Consumer.timer.act) == ("", None)


HALTED = """
import re, signal, sys, time
from deploy import liveness, role
liveness.STUCK_AFTER_S, liveness.TURNS_EVERY_S = 3.0, 0.1
liveness.ENDS_AFTER_S, liveness.ASKS_EVERY_S = float(sys.argv[1]), 0.2
plain = liveness.Turns.turned
def turned(self):
    plain(self)
    print("a turn", flush=True)
liveness.Turns.turned = turned
def halts(*_):
    # The main thread, which runs the loop, stands still; the others go on.
    time.sleep(600)
def holds(*_):
    # A search that takes years, and the interpreter's lock with it: nobody goes on.
    re.match(r"(a+)+$", "a" * 60 + "b")
signal.signal(signal.SIGALRM, globals()[sys.argv[2]])
role.end(role.main(["dlq"]))
"""


@contextmanager
def halted(environ, tmp_path, ends_after_s, way="halts"):
    """Run a worker until it turns, and make its loop stand still."""
    with (tmp_path / "log").open("wb") as out:
        command = [sys.executable, "-c", HALTED, str(ends_after_s), way]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=out, stderr=out)
    try:
        # Long enough that one turn at the start would not do.
        eventually(lambda: (tmp_path / "log").read_text().count("a turn") > 40, 60)
        assert asked(environ, "/healthz") == (200, "ok")
        process.send_signal(signal.SIGALRM)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_whose_loop_stands_still_says_so(environ, tmp_path):
    with halted(environ, tmp_path, 600):
        eventually(lambda: asked(environ, "/healthz")[0] == 503, 60)
        assert "the worker's loop has been blocked" in asked(environ, "/healthz")[1]


def test_a_stuck_worker_ends_with_its_reason_so_that_it_is_started_again(environ, tmp_path):
    with halted(environ, tmp_path, 2) as process:
        assert process.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert "stuck, exiting to be started again" in said and "the worker's loop has been blocked for" in said
    assert "in halts" in said


def test_a_worker_that_holds_the_interpreter_ends_too_and_shows_where(environ, tmp_path):
    with halted(environ, tmp_path, 2, "holds") as process:
        assert process.wait(60) == 1
    assert "in holds" in (tmp_path / "log").read_text()


def test_an_api_that_no_longer_answers_ends(environ, tmp_path):
    halts = "import asyncio, signal, sys, time; from deploy import liveness, role; "
    quick = "liveness.ENDS_AFTER_S, liveness.ASKS_EVERY_S = 2.0, 0.2; "
    stand = "signal.signal(signal.SIGALRM, lambda *_: time.sleep(600)); role.end(role.main(['api']))"
    with (tmp_path / "log").open("wb") as out:
        command = [sys.executable, "-c", halts + quick + stand]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=out, stderr=out)
    try:
        eventually(lambda: asked(environ, "/readyz") == (200, "ok"), 60)
        process.send_signal(signal.SIGALRM)
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
    assert "/healthz on port" in (tmp_path / "log").read_text()


def test_a_worker_ends_what_it_has_in_hand_and_says_goodbye(environ, tmp_path):
    with started("order", environ, tmp_path) as process:
        name = f"order {socket.gethostname()}-{process.pid} "
        eventually(lambda: name in " ".join(redis().zrange(heartbeats.ALIVE, 0, -1)), 60)
        # In Flower too it is not taken for another worker of this machine.
        eventually(lambda: f'"order-{process.pid}@{socket.gethostname()} ready."' in (tmp_path / "log").read_text(), 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert name not in " ".join(redis().zrange(heartbeats.ALIVE, 0, -1))
