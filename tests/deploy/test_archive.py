"""PostgreSQL's archive: from a base backup and the log the database comes back as it was at a chosen moment."""

import os
import subprocess

import psycopg
import pytest

from config.env import ROOT
from deploy import postgres
from deploy.postgres import Postgres
from deploy.servers import as_account
from tests.deploy.conftest import eventually

SCRIPT = ROOT / "deploy" / "compose" / "archive.sh"


@pytest.fixture
def archive(data_dir):
    """An archive that whoever PostgreSQL runs as may write to, as the container's start makes it."""
    for name in ("archive", "archive/wal", "archive/base"):
        (data_dir / name).mkdir()
        (data_dir / name).chmod(0o777)
    return data_dir / "archive"


@pytest.fixture
def server(data_dir, archive, monkeypatch):
    """A server that archives as the one of Compose does."""
    script = data_dir / "archive.sh"
    script.write_text(SCRIPT.read_text())
    archiving = {
        "wal_level": "replica",
        "max_wal_senders": "4",
        "archive_mode": "on",
        "archive_command": f"ARCHIVE={archive} /bin/sh {script} wal %p %f",
    }
    monkeypatch.setattr(postgres, "LAPTOP", postgres.LAPTOP | archiving)
    (data_dir / "first").mkdir(mode=0o711)
    running = Postgres(data_dir / "first")
    running.begin()
    running.finish()
    yield running
    running.kill()


def run(server, archive, *words, **more):
    """Run the script as the container does, with this server's tools."""
    account = as_account(server.account)
    given = {
        **(account.pop("env", None) or os.environ),
        "ARCHIVE": str(archive),
        "PATH": f"{server.binaries.bin}:{os.environ['PATH']}",
        "PGPORT": str(server.port),
        "PGPASSWORD": server.url.partition("@")[0].rpartition(":")[2],
        **more,
    }
    command = ["/bin/sh", str(archive.parent / "archive.sh"), *words]
    return subprocess.run(command, env=given, cwd="/", capture_output=True, text=True, check=False, **account)


def restored(server, archive, data_dir, *moment):
    """Restore into another folder and start there; returns what the table holds."""
    other = Postgres(data_dir)
    other.pgdata = data_dir / "restored"
    other.pgdata.mkdir(mode=0o700)
    other._give(other.pgdata)
    other.home = data_dir
    done = run(server, archive, "restore", *moment, PGDATA=str(other.pgdata))
    assert done.returncode == 0, done.stderr
    again = run(server, archive, "restore", *moment, PGDATA=str(other.pgdata))
    assert again.returncode == 1 and "is not empty" in again.stderr
    (data_dir / "logs").mkdir()
    other.spawn()
    address = server.url.replace(f":{server.port}/", f":{other.port}/")
    try:
        eventually(lambda: other.ready() and is_recovered(address), 60)
        with psycopg.connect(address) as db:
            return [row[0] for row in db.execute("SELECT number FROM kept ORDER BY number")]
    finally:
        other.kill()


def is_recovered(address):
    try:
        with psycopg.connect(address) as db:
            return not db.execute("SELECT pg_is_in_recovery()").fetchone()[0]
    except psycopg.OperationalError:
        return False


def test_the_database_comes_back_as_it_was_at_a_moment_and_at_the_archives_end(server, archive, data_dir):
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("CREATE TABLE kept (number int)")
        db.execute("INSERT INTO kept VALUES (1)")
        first = run(server, archive, "base")
        assert first.returncode == 0, first.stderr
        # A base backup's name is its second.
        eventually(lambda: run(server, archive, "base", ARCHIVE_KEEP="1").returncode == 0, 60)
        (base,) = (archive / "base").iterdir()
        assert base.name not in first.stdout
        db.execute("INSERT INTO kept VALUES (2)")
        (moment,) = db.execute("SELECT clock_timestamp()").fetchone()
        db.execute("INSERT INTO kept VALUES (3)")
        (last,) = db.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        eventually((archive / "wal" / f"{last}.gz").exists, 60)
    # A server that was restored begins a timeline of its own, which a later recovery follows: the end comes first.
    for name, given, expected in (("b", (), [1, 2, 3]), ("a", (str(moment),), [1, 2])):
        (data_dir / name).mkdir(mode=0o711)
        assert restored(server, archive, data_dir / name, *given) == expected


def test_no_piece_of_the_log_is_replaced_by_another(archive, tmp_path):
    piece, script = tmp_path / "000000010000000000000001", ["/bin/sh", str(SCRIPT), "wal"]
    for text, code in (("log", 0), ("log", 0), ("another database's", 1)):
        piece.write_text(text)
        done = subprocess.run(
            [*script, str(piece), piece.name], env={**os.environ, "ARCHIVE": str(archive)}, check=False
        )
        assert done.returncode == code
