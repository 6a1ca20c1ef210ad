"""Wrong settings are named, and what may be a password is shown nowhere."""

import os
import subprocess
import sys

import pytest
from django.views.debug import get_exception_reporter_filter

from config import env
from config.values import BadSetting

MARK = "hunter2"
FREE = ("ENGINE_HOST", "ENGINE_DATA_DIR", "ENGINE_ALLOWED_HOSTS", "ENGINE_ROLE", "MOCK_FAULTS", "ENGINE_NO_VENV")
"""Settings that take any text, and the one the commands below need."""
SECRET = ("ENGINE_SECRET_KEY", "ENGINE_KEY_PEPPER", "ENGINE_ADMIN_PASSWORD", "ENGINE_API_KEY")
WRONG = {
    "a scheme of another store": f"mysql://me:{MARK}@localhost/x?password={MARK}",
    "no scheme": f"me:{MARK}@localhost/x?password={MARK}",
    "half a scheme": f"postgres:/me:{MARK}@localhost",
    "a port that is none": f"postgresql://me:{MARK}@localhost:port/x",
    "a bare slash": f"postgresql://me:12/{MARK}@localhost/x",
    "a bare question mark": f"postgresql://me:12?{MARK}@localhost/x",
    "a bare hash": f"postgresql://me:12#{MARK}@localhost/x",
    "half a host": f"postgresql://me:{MARK}@[::1/x",
    "a password alone": MARK,
}


ADDRESSES = [name for name in env.WITHHELD if name not in SECRET]
PASTED = [name for name in env.TABLE if name not in (*FREE, *SECRET, *ADDRESSES)]
CASES = [(name, kind) for name in ADDRESSES for kind in WRONG] + [(name, "no scheme") for name in PASTED]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_wrong_value_with_a_password_in_it_is_named_and_not_shown(tmp_path, name, kind):
    value = WRONG[kind]
    with pytest.raises(BadSetting, match=f"{name}=") as refused:
        env.load({name: value}, root=tmp_path)
    assert MARK not in str(refused.value) and "12" not in str(refused.value).partition(": must")[0]
    assert env.TABLE[name].about in str(refused.value)


COMMANDS = {
    "a command": ["manage.py", "check"],
    "up": ["manage.py", "up"],
    "a role": ["-m", "deploy.role", "order"],
    "a server": ["-m", "uvicorn", "config.asgi:application", "--port", "1"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_process_that_starts_with_wrong_settings_shows_a_password(command):
    wrong = {name: f"mysql://me:{MARK}@localhost/x?password={MARK}" for name in env.TABLE if name not in FREE}
    given = {**os.environ, **wrong, "ENGINE_NO_VENV": "1", "ENGINE_PROT": MARK}
    done = subprocess.run(
        [sys.executable, *command], cwd=env.ROOT, env=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert MARK not in done.stdout + done.stderr
    for name in wrong.keys() - {*SECRET}:
        assert f"{name}=" in done.stderr


@pytest.mark.parametrize(
    "line", [MARK, f"postgres://me:{MARK}@localhost/x?sslmode=require", f"ENGINE SECRET={MARK}", f"={MARK}"]
)
def test_a_malformed_line_of_the_dotenv_file_is_named_by_its_number_alone(tmp_path, line):
    (tmp_path / ".env").write_text(f"ENGINE_SECRET_KEY={MARK}\n{line}\n")
    with pytest.raises(BadSetting, match=r"\.env line 2: it is not NAME=value; write that") as refused:
        env.load({}, root=tmp_path)
    assert MARK not in str(refused.value) and "localhost" not in str(refused.value)


@pytest.mark.parametrize("name", env.SECRETS)
@pytest.mark.parametrize("value", [f"postgres://me:{MARK}@localhost/x", MARK, f"{MARK}\0"])
def test_a_secret_given_as_its_file_by_mistake_is_not_shown(tmp_path, name, value):
    with pytest.raises(BadSetting, match=f"{name}_FILE: must be the path of a file") as refused:
        env.load({f"{name}_FILE": value}, root=tmp_path)
    assert MARK not in str(refused.value)


def test_djangos_debug_page_shows_no_address_of_a_store(settings):
    settings.ENV = dict.fromkeys(env.WITHHELD, f"redis://:{MARK}@localhost/0")
    settings.REDIS_URL = settings.BROKER_URL = settings.OTEL_EXPORTER_OTLP_ENDPOINT = settings.ENV["REDIS_URL"]
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [{"address": settings.REDIS_URL}]}}}
    shown = get_exception_reporter_filter(None).get_safe_settings()
    assert [name for name, value in shown.items() if MARK in repr(value)] == []
    assert shown["ROLE"] == settings.ROLE
