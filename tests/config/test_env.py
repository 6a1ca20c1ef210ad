"""Settings: what they accept, and what a wrong one says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk import environment_variables

from config import env, values
from config.kept import kept_secret
from config.values import BadSetting
from orders.flow import duties
from routing import store


def load(tmp_path, **given):
    return env.load(given, root=tmp_path)


def test_every_setting_has_a_default_that_it_accepts_itself(tmp_path):
    values = load(tmp_path)
    assert set(values) == {*env.TABLE, "RUNNING_URL"}
    assert values["ENGINE_PORT"] == 8000
    assert values["MOCK_QUOTE_DELAY_MS"] == (2000, 3000)
    assert values["MOCK_PRICE_VARIATION_PCT"] == (2, 5)
    assert values["MAX_ATTEMPTS"] == 3
    assert values["DATABASE_URL"] is None and values["MARKET_REPLAY"] is None
    assert values["ENGINE_DATA_DIR"] == tmp_path / ".data"


def test_every_setting_says_what_it_is_for():
    assert all(setting.about for setting in env.TABLE.values())


def test_an_empty_value_means_the_default(tmp_path):
    assert load(tmp_path, ENGINE_PORT="", DATABASE_URL="")["ENGINE_PORT"] == 8000


GOOD = {
    ("ENGINE_PORT", "9000"): 9000,
    ("MOCK_DROP_RATE", "0.25"): 0.25,
    ("MOCK_QUOTE_DELAY_MS", "150"): (150, 150),
    ("MOCK_QUOTE_DELAY_MS", "0"): (0, 0),
    ("MOCK_QUOTE_DELAY_MS", "100-200"): (100, 200),
    ("MOCK_VENUES_DOWN", "RAYDIUM, METEORA"): ("RAYDIUM", "METEORA"),
    ("MOCK_VENUES_DOWN", ""): (),
    ("ENGINE_SERVER", "daphne"): "daphne",
    ("ENGINE_DEBUG", "TRUE"): True,
    ("ENGINE_DEBUG", "0"): False,
    ("ENGINE_ALLOWED_HOSTS", "a.example, b.example"): ("a.example", "b.example"),
    ("ENGINE_ALLOWED_ORIGINS", "https://Desk.example, http://[::1]:3000"): (
        ("https", "desk.example", 443),
        ("http", "[::1]", 3000),
    ),
    ("ENGINE_ALLOWED_ORIGINS", ""): (),
    ("DATABASE_URL", "postgresql://u:p@db.example:5432/engine?sslmode=require"): (
        "postgresql://u:p@db.example:5432/engine?sslmode=require"
    ),
    ("REDIS_URL", "rediss://:p@cache.example/0"): "rediss://:p@cache.example/0",
    ("BROKER_URL", "amqps://u:p@queues.example/engine"): "amqps://u:p@queues.example/engine",
    ("BROKER_URL", ""): None,
    ("ENGINE_NO_VENV", "1"): "1",
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318"): "https://collector.example:4318",
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ""): None,
    ("OTEL_TRACES_SAMPLER_ARG", "0.01"): 0.01,
}


@pytest.mark.parametrize(("given", "value"), GOOD.items(), ids=lambda item: "=".join(item) if item in GOOD else "")
def test_a_well_formed_value_is_read(tmp_path, given, value):
    name, text = given
    assert load(tmp_path, **{name: text})[name] == value


BAD = [
    ("ENGINE_PORT", "0", "a whole number from 1 to 65535"),
    ("ENGINE_PORT", "80a", "a whole number"),
    ("ENGINE_PORT", "-1", "a whole number"),
    ("ENGINE_PORT", "٣٣", "a whole number"),
    ("ENGINE_WORKER_THREADS", "65", "from 1 to 64"),
    ("MOCK_DROP_RATE", "1.5", "a number from 0 to 1"),
    ("MOCK_DROP_RATE", "nan", "a number"),
    ("MOCK_DROP_RATE", "lots", "a number"),
    ("MARKET_REPLAY_SPEED", "0", "a number from"),
    ("MOCK_QUOTE_DELAY_MS", "3000-2000", "first number is not above its second"),
    ("MOCK_QUOTE_DELAY_MS", "1-2-3", "a range such as"),
    ("MOCK_QUOTE_DELAY_MS", "2000-", "a range such as"),
    ("MOCK_QUOTE_DELAY_MS", "-5", "a range such as"),
    ("MOCK_QUOTE_DELAY_MS", "60001", "at most 60000"),
    ("MOCK_VENUES_DOWN", "ORCA", "any of RAYDIUM, METEORA"),
    ("ENGINE_SERVER", "gunicorn", "one of uvicorn, daphne"),
    ("ENGINE_ALLOWED_ORIGINS", "*", "origins in full, such as https://desk.example.com: with * any website"),
    ("ENGINE_ALLOWED_ORIGINS", "https://*.example", "origins in full"),
    ("ENGINE_ALLOWED_ORIGINS", "desk.example", "an origin such as https://desk.example.com"),
    ("ENGINE_ALLOWED_ORIGINS", "https://desk.example/", "without a path"),
    ("ENGINE_ALLOWED_ORIGINS", "wss://desk.example", "an origin"),
    ("ENGINE_ALLOWED_ORIGINS", "https://u@desk.example", "an origin"),
    ("ENGINE_ALLOWED_ORIGINS", "https://desk.example:0", "port is from 1 to 65535"),
    ("ENGINE_ALLOWED_ORIGINS", "https://desk.example:65536", "port is from 1 to 65535"),
    ("ENGINE_LOG_LEVEL", "info", "one of DEBUG"),
    ("ENGINE_DEBUG", "yes", "1, 0, true or false"),
    ("ENGINE_NO_VENV", "yes", "one of 0, 1"),
    ("DATABASE_URL", "mysql://localhost/x", "postgres:// or postgresql://"),
    ("DATABASE_URL", "postgres://", "an address"),
    ("BROKER_URL", "redis://cache.example/0", "amqp:// or amqps://"),
    ("REDIS_URL", "localhost:6379", "redis:// or rediss://"),
    ("REDIS_URL", "redis://localhost:port/0", "an address"),
    ("REDIS_URL", "redis://localhost:99999/0", "an address"),
    ("REDIS_URL", "redis://:pass/word@localhost/0", "an address"),
    ("DATABASE_URL", "postgresql://me:12/ab@localhost/x", "%40, %2F, %3F and %23 for @, /, ? and #"),
    ("DATABASE_URL", "postgresql://me:12?ab@localhost/x", "an address"),
    ("DATABASE_URL", "postgresql://me:12#ab@localhost/x", "an address"),
    ("DATABASE_URL", "postgresql://me:a@b@localhost/x", "an address"),
    ("MARKET_REPLAY", "/no/such/file.csv", "a file that exists"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http:// or https://"),
    ("OTEL_TRACES_SAMPLER_ARG", "1.5", "a number from 0 to 1"),
]


@pytest.mark.parametrize(("name", "text", "accepted"), BAD, ids=[f"{name}={text}" for name, text, _ in BAD])
def test_a_malformed_value_is_named_with_what_is_accepted(tmp_path, name, text, accepted):
    with pytest.raises(BadSetting) as refused:
        load(tmp_path, **{name: text})
    said = str(refused.value)
    assert said.startswith(f"setting error: {name}=")
    assert accepted in said and env.TABLE[name].about in said


@pytest.mark.parametrize(
    ("name", "near"),
    [("ENGINE_PROT", "ENGINE_PORT"), ("MOCK_DROPRATE", "MOCK_DROP_RATE"), ("QUOTE_FRESH", "QUOTE_FRESH_MS")],
)
def test_an_unknown_name_with_our_prefix_is_named_with_the_nearest_one(tmp_path, name, near):
    with pytest.raises(BadSetting, match=f"{name} is not a setting of this engine; did you mean {near}?"):
        load(tmp_path, **{name: "1"})


def test_an_unknown_name_near_nothing_points_to_the_list(tmp_path):
    with pytest.raises(BadSetting, match=r"config/README\.md lists all settings"):
        load(tmp_path, MOCK_ZZZZZZZZZZZZZZZZZZZ="1")


def test_names_of_others_are_none_of_our_business(tmp_path):
    load(tmp_path, PATH="/bin", ENGINEER="me", HOME="/root")


def test_the_exporters_own_variables_are_left_to_the_exporter(tmp_path):
    standard = [name for name in vars(environment_variables) if name.startswith("OTEL_") and name not in env.TABLE]
    assert "OTEL_EXPORTER_OTLP_HEADERS" in standard
    load(tmp_path, **dict.fromkeys(standard, "anything"))


def test_quotes_cannot_be_stale_before_they_stop_being_fresh(tmp_path):
    with pytest.raises(BadSetting, match="QUOTE_STALE_MS=1000: must not be below QUOTE_FRESH_MS"):
        load(tmp_path, QUOTE_STALE_MS="1000", QUOTE_FRESH_MS="1001")
    assert load(tmp_path, QUOTE_STALE_MS="1000", QUOTE_FRESH_MS="1000")["QUOTE_STALE_MS"] == 1000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ORDER_LEASE_MS": "2000"}, "ORDER_LEASE_MS=2000: must be above 2500"),
        ({"ORDER_DEADLINE_S": "5"}, "ORDER_DEADLINE_S=5: must be above QUOTE_TIMEOUT_MS=5000"),
    ],
)
def test_time_limits_that_contradict_each_other_stop_the_start(tmp_path, given, said):
    with pytest.raises(BadSetting, match=said):
        load(tmp_path, **given)


def test_the_checks_reckon_with_the_time_limits_that_are_kept(settings):
    assert store.redis().connection_pool.connection_kwargs["socket_timeout"] * 1000 == env.REDIS_CALL_MS
    (renewing,) = [duty for duty in duties.order_duties() if duty.name == "renew leases"]
    assert renewing.every_s * 1000 * env.RENEWALS == settings.ORDER_LEASE_MS


def test_the_dotenv_file_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / ".env").write_text(
        "# the desk's own\n\nENGINE_PORT=9001\nexport MOCK_SEED = 7\nENGINE_HOST=\"0.0.0.0\"\nDATABASE_URL='postgres://a/b'\n"
    )
    values = load(tmp_path, ENGINE_PORT="9002")
    assert (values["ENGINE_PORT"], values["MOCK_SEED"]) == (9002, 7)
    assert (values["ENGINE_HOST"], values["DATABASE_URL"]) == ("0.0.0.0", "postgres://a/b")


@pytest.mark.parametrize("line", ["ENGINE_PORT", "ENGINE PORT=1", "=1"])
def test_a_line_of_the_dotenv_file_that_is_no_setting_is_named(tmp_path, line):
    (tmp_path / ".env").write_text(f"MOCK_SEED=1\n{line}\n")
    with pytest.raises(BadSetting, match=r"\.env line 2: .* is not NAME=value"):
        load(tmp_path)


def test_a_dotenv_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"ENGINE_HOST=\xff\n")
    with pytest.raises(BadSetting, match=r"\.env is not UTF-8"):
        load(tmp_path)


def test_an_unknown_name_in_the_dotenv_file_stops_the_start_too(tmp_path):
    (tmp_path / ".env").write_text("ENGINE_PROT=1\n")
    with pytest.raises(BadSetting, match="ENGINE_PROT"):
        load(tmp_path)


def running(tmp_path, content):
    folder = tmp_path / ".data"
    folder.mkdir()
    (folder / "run.json").write_text(content if isinstance(content, str) else json.dumps(content))


STORES = {"DATABASE_URL": "postgresql://found/1", "REDIS_URL": "redis://found/1"}


def test_the_stores_of_a_running_engine_are_found(tmp_path):
    running(tmp_path, {"pid": os.getpid(), **STORES})
    values = load(tmp_path)
    assert {name: values[name] for name in STORES} == STORES


def test_the_address_of_a_running_engine_is_found(tmp_path):
    assert load(tmp_path)["RUNNING_URL"] is None
    running(tmp_path, {"pid": os.getpid(), **STORES, "API_URL": "http://127.0.0.1:8123"})
    assert load(tmp_path)["RUNNING_URL"] == "http://127.0.0.1:8123"


def test_an_address_that_is_given_wins_over_the_one_found(tmp_path):
    running(tmp_path, {"pid": os.getpid(), **STORES})
    values = load(tmp_path, REDIS_URL="redis://mine/0")
    assert (values["REDIS_URL"], values["DATABASE_URL"]) == ("redis://mine/0", STORES["DATABASE_URL"])


def test_an_engine_of_another_user_is_running_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    running(tmp_path, {"pid": 1, **STORES})
    monkeypatch.setattr(env.os, "kill", refuse)
    assert load(tmp_path)["REDIS_URL"] == STORES["REDIS_URL"]


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "content", [lambda: {"pid": dead_pid(), **STORES}, lambda: "{", lambda: "[]", lambda: STORES, lambda: {"pid": "1"}]
)
def test_what_a_dead_engine_left_or_nobody_can_read_is_ignored(tmp_path, content):
    running(tmp_path, content())
    assert load(tmp_path)["REDIS_URL"] is None


def test_the_secret_key_is_made_once_for_its_owner_alone(tmp_path):
    first = kept_secret(tmp_path / "data", "secret-key")
    assert kept_secret(tmp_path / "data", "secret-key") == first and len(first) > 40
    assert (tmp_path / "data" / "secret-key").stat().st_mode & 0o077 == 0


COMMANDS = {
    "a management command": ["manage.py", "check"],
    "uvicorn": ["-m", "uvicorn", "config.asgi:application", "--port", "1"],
    "a worker": ["-m", "celery", "-A", "config.celery", "worker"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_wrong_setting_ends_whatever_starts_with_one_line_and_exit_code_2(command):
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=env.ROOT,
        env={**os.environ, "ENGINE_NO_VENV": "1", "MOCK_SEED": "many"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ended.stderr.strip().splitlines()
    assert ended.returncode == 2
    assert len(said) == 1 and said[0].startswith("setting error: MOCK_SEED='many': must be a whole number")
    assert ended.stdout == ""


def test_settings_the_rooms_read_are_those_of_the_table():
    text = Path(env.ROOT / "config" / "settings.py").read_text()
    for name in env.TABLE:
        if not name.startswith(("ENGINE_", "DATABASE_", "REDIS_")):
            assert f'ENV["{name}"]' in text, name


def test_a_slip_of_the_pen_in_a_name_without_prefix_is_noticed(tmp_path):
    with pytest.raises(values.BadSetting, match=r"MAX_ATTEMPT is not a setting.*did you mean MAX_ATTEMPTS"):
        env.load({"MAX_ATTEMPT": "4"}, tmp_path)
    assert env.load({"MAX_FILES": "4", "TEST_DATABASE_URL": "x"}, tmp_path)["MAX_ATTEMPTS"] == 3


def test_all_wrong_settings_are_named_at_once(tmp_path):
    with pytest.raises(values.BadSetting, match=r"(?s)ENGINE_FOO.*ENGINE_PORT='x'.*MOCK_DROP_RATE='7'"):
        env.load({"ENGINE_FOO": "1", "ENGINE_PORT": "x", "MOCK_DROP_RATE": "7"}, tmp_path)


def test_a_replay_that_cannot_be_read_to_its_end_stops_the_start(tmp_path):
    prices = tmp_path / "prices.csv"
    prices.write_text("timestamp,open,high,low,close,volume\n2025-01-01 00:00:00,1,1,1,abc,1\n")
    with pytest.raises(values.BadSetting, match=r"MARKET_REPLAY=.*line 2.*'abc' is not a price"):
        env.load({"MARKET_REPLAY": str(prices)}, tmp_path)


@pytest.mark.parametrize("name", env.SECRETS)
def test_a_secret_may_be_the_content_of_a_file(tmp_path, name):
    addresses = {"DATABASE": "postgresql://u:p@db/engine", "REDIS": "redis://:p@cache/0", "BROKER": "amqp://u:p@q//"}
    value = addresses.get(name.removesuffix("_URL"), "s3cret value")
    (tmp_path / "secret").write_text(f"{value}\n")
    given = {f"{name}_FILE": str(tmp_path / "secret")}
    assert load(tmp_path, **given)[name] == value
    assert env.given(given, tmp_path) == {name: value}


def test_a_secrets_file_that_is_missing_empty_or_besides_a_value_is_named(tmp_path):
    (tmp_path / "empty").write_text("\n")
    for given, said in (
        (
            {"REDIS_URL_FILE": "/no/such/file"},
            r"REDIS_URL_FILE: must be .* cannot be read \(No such file or directory\)",
        ),
        ({"REDIS_URL_FILE": str(tmp_path / "empty")}, r"the file is empty; it must hold REDIS_URL"),
        ({"REDIS_URL_FILE": "x", "REDIS_URL": "redis://a/0"}, "REDIS_URL and REDIS_URL_FILE are both given"),
    ):
        with pytest.raises(BadSetting, match=said):
            load(tmp_path, **given)


def test_only_secrets_may_be_files(tmp_path):
    with pytest.raises(BadSetting, match="ENGINE_PORT_FILE is not a setting"):
        load(tmp_path, ENGINE_PORT_FILE="/etc/hostname")


def test_a_malformed_secret_from_a_file_is_refused_like_any_other(tmp_path):
    (tmp_path / "secret").write_text("mysql://x/y")
    with pytest.raises(BadSetting, match="postgres:// or postgresql://"):
        load(tmp_path, DATABASE_URL_FILE=str(tmp_path / "secret"))
