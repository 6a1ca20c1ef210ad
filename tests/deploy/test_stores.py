"""The embedded stores, as real processes."""

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy import accounts, postgres, stores, valkey
from deploy.servers import Account, KeptPort, StoreFailed, free_port, left_behind
from deploy.stores import Stores
from tests.deploy.conftest import eventually, is_alive

ROOT = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a choice of accounts")


@pytest.fixture(scope="module")
def running():
    """Stores that the tests below only look at."""
    with tempfile.TemporaryDirectory(prefix="order-engine-deploy-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with Stores(Path(folder), durable=False) as stores_:
            yield stores_


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_everywhere(urls: dict[str, str], value: int) -> None:
    with psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("create table if not exists kept (value int)")
        connection.execute("insert into kept values (%s)", [value])
    redis.from_url(urls["REDIS_URL"]).rpush("kept", value)


def read_everywhere(urls: dict[str, str]) -> tuple[list[int], list[int]]:
    with psycopg.connect(urls["DATABASE_URL"]) as connection:
        rows = connection.execute("select value from kept order by value").fetchall()
    return [row[0] for row in rows], [int(item) for item in redis.from_url(urls["REDIS_URL"]).lrange("kept", 0, -1)]


def test_data_survives_a_restart_and_fresh_deletes_it(data_dir):
    with Stores(data_dir) as first:
        write_everywhere(first.urls, 1)
    with Stores(data_dir) as second:
        write_everywhere(second.urls, 2)
        assert read_everywhere(second.urls) == ([1, 2], [1, 2])
    third = Stores(data_dir)
    third.open()
    third.begin(fresh=True)
    try:
        third.finish()
        assert redis.from_url(third.urls["REDIS_URL"]).exists("kept") == 0
        with psycopg.connect(third.urls["DATABASE_URL"]) as connection:
            assert connection.execute("select to_regclass('kept')").fetchone() == (None,)
    finally:
        third.stop()
    assert not (data_dir / "run.json").exists()


def test_the_durable_stores_are_durable_and_the_tests_ones_need_not_be(data_dir):
    with Stores(data_dir) as durable, psycopg.connect(durable.urls["DATABASE_URL"]) as connection:
        assert connection.execute("show fsync").fetchone() == ("on",)
        assert connection.execute("show synchronous_commit").fetchone() == ("on",)
        config = redis.from_url(durable.urls["REDIS_URL"], decode_responses=True).config_get(
            "*append*", "maxmemory-policy"
        )
        assert (config["appendonly"], config["appendfsync"], config["maxmemory-policy"]) == (
            "yes",
            "everysec",
            "noeviction",
        )
    with Stores(data_dir, durable=False) as quick, psycopg.connect(quick.urls["DATABASE_URL"]) as connection:
        assert connection.execute("show fsync").fetchone() == ("off",)


def test_both_stores_ask_for_a_password(running):
    pg, vk = running.servers
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://engine:wrong@127.0.0.1:{pg.port}/engine")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=vk.port, retry=Retry(NoBackoff(), 0)).ping()


def test_valkey_uses_jemalloc_where_the_machine_has_it(running, tmp_path, monkeypatch):
    (server,) = (one for one in running.servers if one.name == "valkey")
    loaded = "libjemalloc" in Path(f"/proc/{server.pid}/maps").read_text()
    assert loaded == bool(valkey.allocator())
    monkeypatch.setattr(valkey, "LIBRARIES", (tmp_path,))
    assert valkey.allocator() == {}
    (tmp_path / "libjemalloc.so.2").touch()
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert valkey.allocator()["LD_PRELOAD"] == str(tmp_path / "libjemalloc.so.2")
    monkeypatch.setenv("LD_PRELOAD", "libfaketimeMT.so.1")
    assert valkey.allocator()["LD_PRELOAD"] == f"libfaketimeMT.so.1:{tmp_path / 'libjemalloc.so.2'}"


def test_both_stores_listen_on_one_loopback_address_only(running):
    for server in running.servers:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", server.port), timeout=1)


def test_secrets_are_readable_by_their_owner_alone_and_in_no_process_list(running):
    secrets = [running.data_dir / name for name in ("postgres-password", "valkey-password", "run.json")]
    assert [mode(path) for path in secrets] == [0o600] * 3
    commands = [Path(f"/proc/{server.pid}/cmdline").read_text() for server in running.servers]
    assert not any(path.read_text() in command for path in secrets[:2] for command in commands)


def test_nobody_else_enters_the_data_dir_or_reads_what_is_in_it(data_dir):
    with Stores(data_dir) as running:
        write_everywhere(running.urls, 1)
        redis.from_url(running.urls["REDIS_URL"]).save()
        server = running.servers[0]
        assert mode(data_dir) == (0o700 if server.account is None else 0o710)
        own = [path for path in data_dir.rglob("*") if not path.is_relative_to(server.pgdata) and is_ours(path)]
        assert {path.name for path in own} >= {"lock", "logs", "valkey.log", "appendonlydir", "dump.rdb", "run.json"}
        assert {path: oct(mode(path)) for path in own if mode(path) != (0o700 if path.is_dir() else 0o600)} == {}
        if server.account is not None:
            stranger = Account(54321, 54321, "stranger")
            assert [accounts.reaches(one, data_dir) for one in (server.account, stranger)] == [True, False]


def is_ours(path: Path) -> bool:
    """Tell our own files from the copy of PostgreSQL's programs, which its account must read."""
    return not any(part.startswith("postgresql-") for part in path.parts)


def test_a_data_dir_that_an_earlier_version_left_open_is_closed_at_the_next_start_and_keeps_its_data(data_dir):
    with Stores(data_dir) as first:
        write_everywhere(first.urls, 1)
    opened = [
        data_dir / "logs",
        data_dir / "valkey",
        *(data_dir / "valkey").rglob("*"),
        *(data_dir / "logs").rglob("*"),
    ]
    for path in opened:
        path.chmod(0o755 if path.is_dir() else 0o644)
    data_dir.chmod(0o711)
    elsewhere = data_dir.parent / f"{data_dir.name}-elsewhere"
    elsewhere.touch(0o644)
    (data_dir / "logs" / "link").symlink_to(elsewhere)
    try:
        with Stores(data_dir) as second:
            assert read_everywhere(second.urls) == ([1], [1])
            assert mode(data_dir) & 0o067 == 0
            assert {path: oct(mode(path)) for path in opened if path.exists() and mode(path) & 0o077} == {}
            assert mode(elsewhere) == 0o644
    finally:
        elsewhere.unlink()


def test_a_second_launcher_does_not_close_the_data_dir_of_the_first(running):
    before = mode(running.data_dir)
    with pytest.raises(StoreFailed, match="already running"):
        Stores(running.data_dir).open()
    assert mode(running.data_dir) == before


def test_a_folder_for_everybody_is_refused_and_stays_as_it_is(data_dir):
    data_dir.chmod(0o1777)
    with pytest.raises(StoreFailed, match="a folder of the engine's own"):
        Stores(data_dir).open()
    assert mode(data_dir) == 0o1777 and not list(data_dir.iterdir())


def test_run_json_names_the_stores_while_they_run(running):
    told = json.loads((running.data_dir / "run.json").read_text())
    assert told["pid"] == os.getpid()
    assert {name: told[name] for name in running.urls} == running.urls
    assert told["processes"] == {server.name: server.pid for server in running.servers}


def test_a_second_launcher_on_the_same_data_is_refused_and_disturbs_nothing(running):
    with pytest.raises(StoreFailed, match=f"already running on {running.data_dir} .process {os.getpid()}"):
        Stores(running.data_dir).open()
    assert (running.data_dir / "run.json").exists()
    write_everywhere(running.urls, 1)


def test_stores_killed_outright_recover_with_every_acknowledged_write(data_dir):
    first = Stores(data_dir)
    urls = first.start()
    for value in range(50):
        write_everywhere(urls, value)
    for server in first.servers:
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
    assert (data_dir / "postgres" / "postmaster.pid").exists() or first.servers[0].home != data_dir
    first._close()
    with Stores(data_dir) as second:
        assert read_everywhere(second.urls) == (list(range(50)), list(range(50)))


def test_a_store_that_died_comes_back_on_the_same_port_with_its_data(data_dir):
    with Stores(data_dir) as running:
        write_everywhere(running.urls, 1)
        for server in running.servers:
            os.kill(server.pid, signal.SIGKILL)
            eventually(lambda server=server: server.poll() is not None)
            server.spawn()
            eventually(lambda server=server: server.ready())
        assert read_everywhere(running.urls) == ([1], [1])


HOLD = """
import sys, time
from pathlib import Path
from deploy.stores import Stores
running = Stores(Path(sys.argv[1]))
running.start()
print(*(server.pid for server in running.servers), flush=True)
time.sleep(600)
"""


def test_a_killed_launcher_leaves_no_store_behind_and_the_next_start_works(data_dir):
    launcher = subprocess.Popen([sys.executable, "-c", HOLD, data_dir], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in launcher.stdout.readline().split()]
    assert [is_alive(pid) for pid in pids] == [True, True]
    launcher.kill()
    launcher.wait()
    with Stores(data_dir) as running:
        write_everywhere(running.urls, 1)
        eventually(lambda: not any(is_alive(pid) for pid in pids))


def test_a_store_that_outlived_its_launcher_is_ended_before_its_data_is_used(data_dir):
    orphaned = valkey.Valkey(data_dir)
    orphaned.begin()
    orphaned.finish()
    assert left_behind(orphaned.home, "valkey-server") == [orphaned.pid]
    successor = valkey.Valkey(data_dir)
    successor.begin()
    try:
        successor.finish()
        assert orphaned.process.wait(5) is not None
    finally:
        successor.stop()


def test_an_interrupted_first_start_is_done_again(data_dir):
    first = postgres.Postgres(data_dir)
    first.begin()
    first.stop()
    assert not first.pgdata.exists()
    with Stores(data_dir, durable=False) as running:
        write_everywhere(running.urls, 1)
    assert not list(data_dir.glob(".initdb-*"))


@as_root
def test_root_runs_postgres_as_an_account_without_rights_and_changes_no_permission_outside(data_dir):
    before = mode(data_dir.parent)
    with Stores(data_dir, durable=False) as running:
        server = running.servers[0]
        assert Path(f"/proc/{server.pid}").stat().st_uid == server.account.uid != 0
        assert "runs as `nobody`" in running.notes[0]
        assert server.home == data_dir
        assert mode(server.pgdata) == 0o700
    assert (mode(data_dir.parent), mode(data_dir)) == (before, 0o710)
    assert data_dir.stat().st_gid == server.account.gid


@as_root
def test_an_account_without_rights_sees_no_secret_in_its_processes_environment(data_dir, monkeypatch):
    monkeypatch.setenv("ENGINE_ADMIN_PASSWORD", "hunter2")
    server = postgres.Postgres(data_dir, durable=False)
    server.begin()
    try:
        server.finish()
        environ = Path(f"/proc/{server.pid}/environ").read_text()
        assert "PATH=" in environ and "hunter2" not in environ and "DATABASE_URL" not in environ
    finally:
        server.stop()


@as_root
def test_data_moves_where_its_account_can_go_when_the_project_is_out_of_reach(data_dir, monkeypatch):
    monkeypatch.setattr(accounts, "SYSTEM_HOME", data_dir / "system")
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    with Stores(closed / "data", durable=False) as running:
        assert running.servers[0].home.parent == data_dir / "system"
        assert str(running.servers[0].home) in running.notes[0]
        write_everywhere(running.urls, 1)
    assert mode(closed) == 0o700
    closed.chmod(0o711)
    with Stores(closed / "data", durable=False) as again:
        assert read_everywhere(again.urls)[0] == [1], "data that exists is found again, wherever it is"


def test_an_ordinary_user_runs_postgres_as_itself(data_dir, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert accounts.account_for(data_dir) is None
    assert accounts.home_for(data_dir, None) == data_dir


def test_existing_data_keeps_its_account(data_dir, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (data_dir / "postgres").mkdir()
    if os.getuid() == 0:
        os.chown(data_dir / "postgres", 12345, 12345)
    owner = (data_dir / "postgres").stat().st_uid
    assert accounts.account_for(data_dir) == Account.of(owner)


def made_by(data_dir: Path, version: str) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "PG_VERSION").write_text(version)


@pytest.mark.parametrize(
    ("version", "said"),
    [("15\n", "made by PostgreSQL 15; .*--fresh"), ("", "damaged: .*--fresh")],
)
def test_data_this_version_cannot_read_is_refused_with_the_way_out(data_dir, version, said):
    made_by(data_dir, version)
    server = postgres.Postgres(data_dir)
    with pytest.raises(StoreFailed, match=f"(?s){said}"):
        server.begin()


def test_damaged_postgres_data_is_named_as_such(data_dir):
    with Stores(data_dir, durable=False) as running:
        pgdata = running.servers[0].pgdata
    (pgdata / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(StoreFailed, match=f"(?s)data in {pgdata} is damaged"):
        Stores(data_dir).start()
    assert not left_behind(pgdata, "postgres")


def test_damaged_valkey_data_says_that_it_can_be_rebuilt(data_dir):
    with Stores(data_dir, external=frozenset({"DATABASE_URL"})) as running:
        redis.from_url(running.urls["REDIS_URL"]).set("a", "b")
    log = next((data_dir / "valkey" / "appendonlydir").glob("*.incr.aof"))
    log.write_bytes(b"not a log at all" + log.read_bytes())
    with pytest.raises(StoreFailed, match=r"(?s)cannot read its data.*rebuilt from PostgreSQL"):
        Stores(data_dir, external=frozenset({"DATABASE_URL"})).start()


def test_a_full_disk_is_called_a_full_disk(data_dir):
    assert "is full" in stores.explain(OSError(errno.ENOSPC, "No space left on device"), data_dir)
    server = postgres.Postgres(data_dir)
    server.log.parent.mkdir()
    server.log.write_text("FATAL:  could not write lock file: No space left on device\n")
    assert "is full" in server._explain("PostgreSQL did not start")


def test_an_external_server_is_not_started(data_dir):
    with Stores(data_dir, external=frozenset({"DATABASE_URL", "REDIS_URL"})) as running:
        assert running.urls == {}
        assert running.servers == []


def test_ports_stay_out_of_the_range_clients_get_theirs_from():
    assert all(15_000 <= free_port() < 32_000 for _ in range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a server listen beside the one who keeps its port")
def test_a_kept_port_is_nobody_elses_before_its_server_starts_and_after_it_died():
    def taken_by_another() -> bool:
        with socket.socket() as other:
            try:
                other.bind(("127.0.0.1", kept.number))
            except OSError:
                return False
            return True

    kept = KeptPort()
    assert not taken_by_another()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", kept.number))
        server.listen()
        socket.create_connection(("127.0.0.1", kept.number), timeout=5).close()
    assert not taken_by_another()


def test_each_embedded_store_keeps_its_port(data_dir):
    for server in (postgres.Postgres(data_dir), valkey.Valkey(data_dir)):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
