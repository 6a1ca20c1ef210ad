"""The client as a package of its own: built, installed where nothing else is, and used there."""

import json
import shutil
import subprocess
import sys
import venv
from collections import deque

import pytest

from config.env import ROOT
from engine.lifecycle import FINAL
from engine.orders import OrderType, TimeInForce
from engine.triggers import Kind
from orders.client import words
from tests.client.forgetful import ID, SEEN, End, Forgetful, served

USE = f"""
import asyncio, json, sys
from order_engine_client import Client

async def main(url):
    async with Client(url) as client:
        return [event.status async for event in client.follow({ID!r}, within_s=30.0)]

told = asyncio.run(main(sys.argv[1]))
ours = sorted(set(sys.modules) & {{"orders", "engine", "routing", "config", "django", "msgspec"}})
print(json.dumps([told, ours]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of an environment that has the client's wheel and what that asks for."""
    home = tmp_path_factory.mktemp("client")
    # Building leaves files beside the sources.
    shutil.copytree(ROOT / "orders" / "client", home / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(home), str(home / "source"))
    venv.create(home / "venv", with_pip=True)
    found = str(home / "venv" / "bin" / "python")
    pip(found, "install", *map(str, home.glob("*.whl")))
    return found


def pip(interpreter: str, *words: str) -> None:
    done = subprocess.run([interpreter, "-m", "pip", "-q", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_wheel_is_all_that_a_bot_needs(python):
    with served() as server:
        server.engine = engine = Forgetful(deque([*SEEN, End()]))
        done = subprocess.run([python, "-c", USE, server.url], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told, ours = json.loads(done.stdout)
    assert told == [event["status"] for event in engine.history] and told[-1] in FINAL
    assert ours == []


def test_its_types_and_both_clients_are_in_the_wheel(python):
    show = "from order_engine_client import Client, SyncClient; from importlib.resources import files; "
    show += "print(files('order_engine_client').joinpath('py.typed').is_file())"
    done = subprocess.run([python, "-c", show], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_its_words_are_the_engines():
    assert FINAL == words.FINAL
    for ours, its in ((OrderType, words.OrderType), (TimeInForce, words.TimeInForce), (Kind, words.Kind)):
        assert {one.name: one.value for one in ours} == {one.name: one.value for one in its}
