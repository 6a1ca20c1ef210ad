"""The launcher's decisions, and its refusals."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from config import env
from deploy import roles, servers, terminal
from deploy.external import Unreachable, reach, sentence
from deploy.options import CannotStart, parse, read_settings
from deploy.ports import claim_ports
from deploy.servers import free_port
from deploy.terminal import Logs, new_lines

ROOT = Path(__file__).resolve().parents[2]
FIXED = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "MARKET_REPLAY", "MARKET_REPLAY_SPEED", "MARKET_REPLAY_START")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No setting given, neither here nor in a .env file; what the launcher sets is undone."""
    for name in FIXED:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(env, "ROOT", tmp_path)
    return monkeypatch


@pytest.mark.parametrize("setting", ["ENGINE_PORT", "ENGINE_FLOWER_PORT"])
def test_a_taken_port_is_named_with_the_setting_that_changes_it(setting):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = {"ENGINE_HOST": "127.0.0.1", "ENGINE_PORT": free_port(), "ENGINE_FLOWER_PORT": free_port()}
        with pytest.raises(CannotStart, match=f"port {port} .*taken(?s:.*){setting}={port + 1} python3") as refusal:
            claim_ports({**settings, setting: port}, flower=True)
        assert refusal.value.code == 2


def test_flowers_port_does_not_matter_without_flower():
    port = free_port()
    claim_ports({"ENGINE_HOST": "127.0.0.1", "ENGINE_PORT": port, "ENGINE_FLOWER_PORT": port}, flower=False).close()


def test_the_apis_port_does_not_matter_without_an_api():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        settings = {"ENGINE_HOST": "127.0.0.1", "ENGINE_PORT": port, "ENGINE_FLOWER_PORT": free_port()}
        assert claim_ports(settings, api=False, flower=True) is None


def test_an_address_of_another_machine_is_refused_by_name():
    settings = {"ENGINE_HOST": "192.0.2.1", "ENGINE_PORT": free_port(), "ENGINE_FLOWER_PORT": free_port()}
    with pytest.raises(CannotStart, match=r"ENGINE_HOST=192\.0\.2\.1"):
        claim_ports(settings, flower=True)


def test_fresh_refuses_to_touch_a_server_of_the_users(bare):
    bare.setenv("DATABASE_URL", "postgresql://me@db/engine")
    with pytest.raises(CannotStart, match="DATABASE_URL names a server of yours"):
        read_settings(parse(["--fresh"]))


def test_a_store_that_a_file_names_is_the_users_own(bare, tmp_path):
    (tmp_path / "address").write_text("redis://cache.example/0\n")
    bare.setenv("REDIS_URL_FILE", str(tmp_path / "address"))
    settings, external = read_settings(parse([]))
    assert (settings["REDIS_URL"], external) == ("redis://cache.example/0", {"REDIS_URL"})


def test_the_administrators_password_is_the_one_given_or_made_and_kept(tmp_path):
    given = {"ENGINE_DATA_DIR": tmp_path, "ENGINE_ADMIN_PASSWORD": "given"}
    assert roles.admin_password(given) == "given"
    assert not list(tmp_path.iterdir())
    made = roles.admin_password({**given, "ENGINE_ADMIN_PASSWORD": None})
    assert made == roles.admin_password({**given, "ENGINE_ADMIN_PASSWORD": None}) != "given"


def test_stores_of_a_running_engine_do_not_count_as_external(bare, tmp_path):
    (tmp_path / ".data").mkdir()
    running = {"pid": os.getpid(), "DATABASE_URL": "postgresql://x@y/z", "REDIS_URL": "redis://y"}
    (tmp_path / ".data" / "run.json").write_text(json.dumps(running))
    bare.setenv("ENGINE_DATA_DIR", str(tmp_path / ".data"))
    settings, external = read_settings(parse([]))
    assert settings["DATABASE_URL"] == running["DATABASE_URL"]
    assert external == frozenset()


def test_a_wrong_setting_stops_the_start_with_its_name(bare):
    bare.setenv("ENGINE_PORT", "eighty")
    with pytest.raises(CannotStart, match="ENGINE_PORT='eighty'") as refusal:
        read_settings(parse([]))
    assert refusal.value.code == 2


@pytest.mark.parametrize(
    ("name", "scheme", "product"),
    [
        ("DATABASE_URL", "postgresql", "PostgreSQL"),
        ("REDIS_URL", "redis", "Redis"),
        ("BROKER_URL", "amqp", "RabbitMQ"),
    ],
)
def test_an_external_store_that_is_away_stops_the_start_in_one_sentence(bare, tmp_path, name, scheme, product):
    port = free_port()
    given = {name: f"{scheme}://me:hush@127.0.0.1:{port}/1", "ENGINE_NO_VENV": "1", "ENGINE_DATA_DIR": str(tmp_path)}
    ports = {"ENGINE_PORT": str(free_port()), "ENGINE_FLOWER_PORT": str(free_port())}
    command = [sys.executable, "manage.py", "up"]
    environment = {**os.environ, **ports, **given}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    said = done.stderr.strip()
    assert done.returncode == 1
    assert said.startswith(f"{name}: {product} at 127.0.0.1:{port} cannot be used (")
    assert "refused" in said and f"correct {name}" in said
    assert "hush" not in said and "\n" not in said


def test_a_server_of_another_kind_is_refused_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        threading.Thread(target=lambda: other.accept()[0].sendall(b"-NO hush\r\n" * 9), daemon=True).start()
        with pytest.raises(Unreachable, match=rf"REDIS_URL: Redis at 127\.0\.0\.1:{port} .*NO \*\*\*"):
            reach({"REDIS_URL": f"redis://:hush@127.0.0.1:{port}/0"}, frozenset({"REDIS_URL"}))


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("DATABASE_URL", "postgresql://hush:pw@127.0.0.1:{}/x?sslmode=hush", "invalid sslmode value"),
        ("DATABASE_URL", "postgresql://me:hu%zzsh@127.0.0.1:{}/x", "percent-encoded"),
        ("REDIS_URL", "redis://hush:hush@127.0.0.1:{}/0?socket_timeout=hush", "socket_timeout"),
    ],
)
def test_neither_user_nor_password_nor_query_of_an_address_is_repeated(name, address, said):
    with pytest.raises(Unreachable, match=said) as refused:
        reach({name: address.format(free_port())}, frozenset({name}))
    assert not re.search("hush|hu%zzsh|zz", str(refused.value))


def test_a_user_is_hidden_in_what_the_server_says_and_other_words_stay():
    problem = Exception('FATAL: password authentication failed for user "me", time is over')
    said = sentence("DATABASE_URL", "postgresql://me:pw@db.example/x", problem)
    assert 'for user "***", time is over' in said and "PostgreSQL at db.example:5432" in said


def test_a_broker_that_says_nothing_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            Unreachable, match=rf"BROKER_URL: RabbitMQ at 127\.0\.0\.1:{port} .*the queues are in Redis"
        ):
            reach({"BROKER_URL": f"amqp://me:hush@127.0.0.1:{port}//"}, frozenset({"BROKER_URL"}))


def test_a_fresh_start_may_keep_the_users_rabbitmq(bare):
    bare.setenv("BROKER_URL", "amqp://queues.example//")
    assert read_settings(parse(["--fresh"]))[1] == {"BROKER_URL"}


def test_external_stores_that_answer_let_the_start_go_on():
    stores = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    reach(stores, frozenset(stores))


def test_a_replay_begins_now_for_all_processes(bare, tmp_path):
    prices = tmp_path / "prices.csv"
    prices.write_text("timestamp,open,high,low,close,volume\n2025-01-01 00:00:00,1,1,1,1,1\n")
    settings, _ = read_settings(parse(["--replay", str(prices), "--replay-speed", "60"]))
    assert (settings["MARKET_REPLAY"], settings["MARKET_REPLAY_SPEED"]) == (prices.resolve(), 60.0)
    assert float(os.environ["MARKET_REPLAY_START"]) == pytest.approx(time.time(), abs=5)


ROLES = """
from deploy import roles
import json, threading
roles.preload()
from django.conf import settings
from django.db import connections
threads = threading.active_count()
opened = [connection for connection in connections.all(initialized_only=True) if connection.connection]
roles.become("beat")
database = connections["default"].settings_dict
print(json.dumps([threads, len(opened), settings.ROLE, "pool" in database["OPTIONS"], database["CONN_MAX_AGE"]]))
roles.become("order")
print(json.dumps([settings.ROLE, connections["default"].settings_dict["OPTIONS"]["pool"]["max_size"]]))
"""


def test_the_application_can_be_forked_and_each_role_has_settings_of_its_own():
    said = subprocess.run([sys.executable, "-c", ROLES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [json.loads(line) for line in said.splitlines()] == [[1, 0, "beat", False, 300], ["order", 12]]


def test_roles_are_scaled_by_name():
    assert parse(["--scale", "order=2", "api=3", "--scale", "dlq=0"]).scale == {"order": 2, "api": 3, "dlq": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scale", "beat=2"], "exactly one beat"),
        (["--scale", "orders=2"], "the roles are api, order"),
        (["--scale", "order=many"], "number from 0 to 32"),
        (["--replay", "missing.csv"], "no such file"),
        (["--replay-speed", "2"], "goes with --replay"),
        (["--replay", __file__, "--replay-speed", "0"], "above 0"),
    ],
)
def test_a_wrong_command_line_ends_with_what_is_accepted(arguments, said, capsys):
    with pytest.raises(SystemExit) as leaving:
        parse(arguments)
    assert leaving.value.code == 2
    assert said in capsys.readouterr().err


def test_only_errors_are_shown_each_once_and_cut_short(tmp_path, capsys):
    log = tmp_path / "order.log"
    logs = Logs([log], verbose=False)
    error = json.dumps({"event": "cannot route\nsecond line", "level": "error", "order_id": "o1"})
    with log.open("a") as file:
        file.write(json.dumps({"event": "order routed", "level": "info"}) + "\n" + (error + "\n") * 3)
        file.writelines(json.dumps({"event": f"problem {n}", "level": "error"}) + "\n" for n in range(9))
    logs.show()
    logs.show()
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("order: cannot route (order o1)")
    assert len(said) == Logs.MOST + 1
    assert "and 5 more errors" in said[-1]


@pytest.fixture
def journal(tmp_path):
    terminal.journal.path = tmp_path / "launcher.log"
    yield terminal.journal.path
    terminal.journal.path = None


def test_what_the_launcher_says_is_kept_as_json_for_its_owner_alone(journal, capsys):
    terminal.say("order ended (exit code 1)")
    terminal.fail("no port is free")
    terminal.tell("order: cannot route")
    kept = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(line["event"], line["level"], line["worker"]) for line in kept] == [
        ("order ended (exit code 1)", "info", "launcher"),
        ("no port is free", "error", "launcher"),
    ]
    assert all(line["timestamp"].endswith("Z") for line in kept)
    assert journal.stat().st_mode & 0o777 == 0o600
    assert "order: cannot route" in capsys.readouterr().out, "what a role has in its own log is only shown"


def test_the_launchers_log_is_set_aside_when_it_is_large(journal, monkeypatch):
    monkeypatch.setattr(servers, "ROTATE_AT", 100)
    for number in range(4):
        terminal.journal.keep(f"sentence {number} that is long enough to fill the log by itself, nearly" + "." * 40)
    assert "sentence 3" in journal.read_text() and "sentence 2" not in journal.read_text()
    assert "sentence 2" in journal.with_name("launcher.log.1").read_text()


def test_a_line_still_being_written_is_left_for_the_next_look(tmp_path):
    log = tmp_path / "api.log"
    log.write_text("whole\nhal")
    lines, start = new_lines(log, 0, 1000)
    assert lines == ["whole"]
    log.write_text("whole\nhalf\n")
    assert new_lines(log, start, 1000) == (["half"], 11)
    log.write_text("new\n")
    assert new_lines(log, 11, 1000) == (["new"], 4), "a log that was set aside is read from its beginning"
