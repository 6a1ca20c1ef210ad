"""Backups: all of Postgres in one private file, and back into an empty database that sends nothing before it may."""

import stat
import subprocess
import sys

import psycopg
import pytest

from config.env import ROOT
from deploy.servers import free_port
from deploy.stores import Stores
from tests.system import outside

ROWS = {
    "orders": "SELECT id, status, amount_in FROM orders_order ORDER BY id",
    "events": "SELECT order_id, seq, at FROM orders_orderevent ORDER BY order_id, seq",
    "schema": "SELECT app, name FROM django_migrations ORDER BY id",
    "triggers": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname",
}
PLACED = """
from tests.factories import OrderEventFactory, OrderFactory
OrderEventFactory(order=OrderFactory(type="limit"), seq=1)
"""


def manage(data_dir, *words, **environ):
    """Run a command on a data dir; return its exit code and what it said."""
    settings = {"ENGINE_DATA_DIR": str(data_dir), "ENGINE_NO_VENV": "1", **environ}
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**outside(), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def read(url):
    with psycopg.connect(url) as db:
        return {name: db.execute(query).fetchall() for name, query in ROWS.items()}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A data dir with an order that rests, what is in it, and its backup."""
    folder = tmp_path_factory.mktemp("backups")
    folder.chmod(0o711)
    data, file = folder / "data", folder / "engine.dump"
    with Stores(data, durable=False) as stores:
        environ = stores.urls
        code, said = manage(data, "migrate", **environ)
        assert code == 0, said
        code, said = manage(data, "shell", "-c", PLACED, **environ)
        assert code == 0, said
        held = read(environ["DATABASE_URL"])
    code, said = manage(data, "backup", str(file))
    assert code == 0, said
    return data, held, file


def test_a_backup_is_read_by_its_owner_alone_and_never_written_over(kept):
    data, held, file = kept
    assert len(held["orders"]) == len(held["events"]) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, said = manage(data, "backup", str(file))
    assert code == 2 and f"{file} is there already" in said
    assert not list(file.parent.glob("*.partial"))


def test_what_was_backed_up_is_back_and_halted(kept):
    data, held, file = kept
    other = data.with_name("other")
    code, said = manage(other, "restore", str(file))
    assert code == 0, said
    with Stores(other, durable=False) as stores:
        url = stores.urls["DATABASE_URL"]
        assert read(url) == held
        with psycopg.connect(url) as db:
            assert db.execute("SELECT scope, state, by FROM orders_pause").fetchall() == [
                ("everything", "halted", "restore")
            ]
        # Nothing is left to migrate, and while the engine may run nothing is restored.
        assert manage(other, "migrate", "--check", **stores.urls)[0] == 0
        code, said = manage(other, "restore", str(file), "--replace")
        assert code == 2 and "already running" in said


def test_a_database_that_is_not_empty_is_left_alone_unless_it_is_to_be_replaced(kept):
    data, held, file = kept
    code, said = manage(data, "restore", str(file))
    assert code == 2 and "--replace deletes it" in said
    code, said = manage(data, "restore", str(file.with_name("nothing.dump")), "--replace")
    assert code == 2 and "is no file" in said
    with Stores(data, durable=False) as stores:
        assert read(stores.urls["DATABASE_URL"]) == held
        code, said = manage(data, "restore", str(file), DATABASE_URL=stores.urls["DATABASE_URL"])
        assert code == 2 and "make a new one" in said
    code, said = manage(data, "restore", str(file), "--replace")
    assert code == 0, said


def test_what_was_there_is_back_when_the_backup_turns_out_not_to_be_whole(kept):
    data, _, file = kept
    half = file.with_name("half.dump")
    half.write_bytes(file.read_bytes()[:-100])
    with Stores(data, durable=False) as stores:
        before = read(stores.urls["DATABASE_URL"])
    names = {path.name for path in data.iterdir()}
    code, said = manage(data, "restore", str(half), "--replace")
    assert code == 2 and "what was there before is back" in said and "pg_restore failed" in said
    assert {path.name for path in data.iterdir()} == names
    with Stores(data, durable=False) as stores:
        assert len(before["orders"]) == 1 and read(stores.urls["DATABASE_URL"]) == before


def test_what_a_restore_that_was_cut_off_left_is_not_deleted_by_the_next(kept):
    data, _, file = kept
    (data / "valkey.old").mkdir()
    code, said = manage(data, "restore", str(file), "--replace")
    assert code == 2 and f"still in {data / 'valkey.old'}" in said
    # Nor does the engine trade on what may be half of a backup.
    code, said = manage(data, "up", "--no-flower", ENGINE_PORT=str(free_port()))
    assert code == 1 and f"still in {data / 'valkey.old'}" in said
    (data / "valkey.old").rmdir()


def test_the_migrations_of_a_release_can_be_undone_and_no_order_is_lost(kept):
    data, held, _ = kept
    with Stores(data, durable=False) as stores:
        for words in (["orders", "0016"], []):
            code, said = manage(data, "migrate", *words, **stores.urls)
            assert code == 0, said
        now = read(stores.urls["DATABASE_URL"])
    assert {name: now[name] for name in ("orders", "events", "triggers")} == {
        name: held[name] for name in ("orders", "events", "triggers")
    }


def test_a_file_that_is_no_backup_changes_nothing(kept, tmp_path):
    tmp_path.chmod(0o711)
    (tmp_path / "engine.dump").write_text("not a dump")
    code, said = manage(kept[0].with_name("third"), "restore", str(tmp_path / "engine.dump"), "--replace")
    assert code == 2 and "pg_restore failed" in said
    assert not kept[0].with_name("third").exists()
