"""The Redis users: each role may use the commands and keys it needs, and neither more commands nor more keys."""

import re
import subprocess
import sys

import pytest
import redis as client
from redis.exceptions import NoPermissionError

from config.env import ROOT
from deploy import redis_rights, role
from deploy.servers import free_port
from deploy.valkey import find_binary
from tests.deploy.conftest import eventually

ADDRESSES = {name: f"redis://{redis_rights.name_of(name)}:secret-{name}@valkey:6379/0" for name in redis_rights.USERS}
SPELT = {
    **{"delete": "del", "xgroup_create": "xgroup|create", "xinfo_groups": "xinfo|groups"},
    **{"xinfo_stream": "xinfo|stream", "register_script": "script|load"},
}
"""What redis-py calls a command otherwise than Redis does."""
NO_COMMANDS = {"call", "error_reply", "execute", "from_url", "lock", "pipeline"}


@pytest.fixture
def files(tmp_path):
    """Make the files of the roles' addresses and of the default user's password, as Compose has them."""
    (tmp_path / "redis_password").write_text("secret-default\n")
    for name, address in ADDRESSES.items():
        (tmp_path / f"redis_url_{name}").write_text(f"{address}\n")
    return sorted(tmp_path.iterdir())


@pytest.fixture
def connect(files, tmp_path):
    """Start a Valkey with the ACL file that the command prints; returns what connects to it as a user."""
    command = [sys.executable, "-m", "deploy.redis_rights", *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "secret" not in done.stdout
    (tmp_path / "acl").write_text(done.stdout)
    port = free_port()
    options = [f"--port {port}", "--bind 127.0.0.1", f"--aclfile {tmp_path / 'acl'}", "--save", "", "--appendonly no"]
    server = subprocess.Popen([find_binary(), *options], cwd=tmp_path, stdout=subprocess.DEVNULL)

    def connected(name):
        user = name if name == "default" else redis_rights.name_of(name)
        return client.Redis("127.0.0.1", port, username=user, password=f"secret-{name}", decode_responses=True)

    def answers():
        try:
            return connected("default").ping()
        except client.ConnectionError:
            return False

    try:
        eventually(answers)
        yield connected
    finally:
        server.kill()
        server.wait()


def test_every_role_that_uses_redis_has_a_user():
    assert set(redis_rights.USERS) == set(role.ROLES) - {"migrate"} | {"keda"}


def used():
    """Find the commands of the engine's scripts, and of its calls."""
    found = set()
    for room in ("orders", "routing", "config"):
        for path in (ROOT / room).rglob("*"):
            if path.suffix in (".py", ".lua"):
                text = path.read_text()
                found |= {name.lower() for name in re.findall(r"redis\.call\('(\w+)'", text)}
                found |= set(re.findall(r"\b(?:redis\(\)|probe\(\)|pipe|redis)\.([a-z_]+)\(", text))
    return {SPELT.get(name, name) for name in found - NO_COMMANDS}


def test_the_engine_may_use_exactly_the_commands_that_its_code_uses():
    assert used() - set(redis_rights.ENGINE.split()) == {"scan", "hscan"}
    assert set(redis_rights.COMMANDS.split()) - used() == set()


def test_nobody_but_the_operator_configures_empties_or_searches_the_server(connect):
    commands = ("FLUSHALL", "FLUSHDB", "CONFIG GET *", "KEYS *", "ACL LIST", "SHUTDOWN", "MONITOR")
    for name in redis_rights.USERS:
        for command in (*commands, "CLIENT LIST", "REPLICAOF NO ONE", "SCRIPT FLUSH", "FUNCTION LIST", "SWAPDB 0 1"):
            with pytest.raises(NoPermissionError):
                connect(name).execute_command(*command.split())
                pytest.fail(f"{name}: {command}")
    assert connect("default").flushall()
    with pytest.raises(client.AuthenticationError):
        client.Redis("127.0.0.1", connect("api").connection_pool.connection_kwargs["port"]).ping()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("order", "GET ticket:{a}"),
        ("dlq", "HSET order:{a} status confirmed"),
        ("dlq", "XADD orders:events * b forged"),
        ("stream", "HGETALL order:{a}"),
        ("stream", "ZREM limit_levels:{SOL-USDC} 1"),
        ("limit", "HSET quotes:{SOL-USDC}:BEST price 1"),
        ("sniper", "HSET quotes:{SOL-USDC}:BEST price 1"),
        ("api", "HSET quotes:{SOL-USDC}:BEST price 1"),
        ("api", "XADD market:events * kind launch"),
        ("dbsync", "HGETALL quotes:{SOL-USDC}:BEST"),
        ("beat", "HGETALL order:{a}"),
        ("beat", "HSET guards a 1"),
        ("flower", "LPUSH order forged"),
        ("flower", "HGETALL order:{a}"),
        ("keda", "BRPOP order 1"),
        ("keda", "GET store:epoch"),
        ("order", "PUBLISH asgispecific.forged x"),
    ],
)
def test_a_role_reaches_no_key_of_anothers_work(name, command, connect):
    with pytest.raises(NoPermissionError):
        connect(name).execute_command(*command.split())


def test_a_script_may_do_no_more_than_who_runs_it(connect):
    with pytest.raises(client.ResponseError, match="No permissions to access a key"):
        connect("stream").eval("return redis.call('HSET', 'order:{a}', 'status', 'confirmed')", 0)


def test_keda_asks_for_the_length_of_a_queue(connect):
    connect("beat").lpush("order", "a", "b")
    script = "local kind = redis.call('type', KEYS[1]).ok return {kind, redis.call('llen', KEYS[1])}"
    assert connect("keda").eval(script, 1, "order") == ["list", 2]


def test_each_user_needs_an_address(files, capsys):
    assert redis_rights.main([str(file) for file in files if not file.name.endswith("keda")]) == 2
    assert "missing or unknown: engine_keda" in capsys.readouterr().err


def test_a_user_without_a_password_is_refused():
    with pytest.raises(redis_rights.WrongUsers, match="engine_beat: the address has no password"):
        redis_rights.acl({redis_rights.name_of(name): "" if name == "beat" else "p" for name in redis_rights.USERS})


def test_without_its_password_the_default_user_is_off():
    made = redis_rights.acl({redis_rights.name_of(name): "p" for name in redis_rights.USERS})
    assert made.startswith("user default reset off\n")
