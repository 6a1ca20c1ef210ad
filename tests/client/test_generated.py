"""Clients that generators make from the engine's description place, follow, amend and cancel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from config.env import ROOT
from tests.bearer import API_KEY
from tests.system import NO_DELAYS, eventually, system

pytestmark = pytest.mark.system

HERE = ROOT / "tests" / "client"
WITHIN_S = 180
"""How long a package registry or a compiler may take."""


@pytest.fixture(scope="module")
def engine():
    with system(NO_DELAYS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


def run(*command: str, at: Path, **environ: str) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(
        command, cwd=at, env={**os.environ, **environ}, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def flow(engine, *command: str, at: Path) -> None:
    """Run a program that uses a generated client, and hold that it printed what it must."""
    environ = {"ENGINE_URL": engine.url, API_KEY: engine.api_key}
    first, *rest = run(*command, at=at, **environ).splitlines()
    status, amount, token = first.split()
    assert (status, token) == ("confirmed", "SOL") and float(amount) > 100
    assert rest == [
        "1001.5 2",
        "412 changed",
        "cancelled cancelled by the client",
        *("pending", "amended 1001.5", "cancelled"),
    ]


def described(engine, folder: Path) -> str:
    """Keep the engine's description; return the name of its file."""
    answer = httpx.get(f"{engine.url}/api/schema", headers={"accept": "application/json"})
    (folder / "schema.json").write_text(answer.text)
    return "schema.json"


def test_a_generated_python_client_places_follows_amends_and_cancels(engine, tmp_path):
    pytest.importorskip("openapi_python_client", reason="openapi-python-client is not installed")
    (tmp_path / "config.yml").write_text("package_name_override: engine_client\npost_hooks: []\n")
    told = run(
        *(
            sys.executable,
            "-m",
            "openapi_python_client",
            "generate",
            "--path",
            described(engine, tmp_path),
            "--meta",
            "none",
        ),
        *("--output-path", "engine_client", "--config", "config.yml", "--fail-on-warning"),
        at=tmp_path,
    )
    assert "WARNING" not in told, told
    shutil.copy(HERE / "generated_flow.py", tmp_path)
    flow(engine, sys.executable, "generated_flow.py", at=tmp_path)


@pytest.fixture
def typescript(tmp_path):
    """A folder with the generator and the compiler; skip the test where they cannot be had."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("no npm here")
    folder = tmp_path / "typescript"
    shutil.copytree(HERE / "typescript", folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install the packages: {done.stderr.strip()[-300:]}")
    return folder


def test_a_generated_typescript_client_type_checks_places_follows_amends_and_cancels(engine, typescript):
    tools = typescript / "node_modules" / ".bin"
    told = run(
        str(tools / "openapi-typescript"), described(engine, typescript), "--output", "schema.d.ts", at=typescript
    )
    assert "warn" not in told.lower(), told
    run(str(tools / "tsc"), "--project", ".", at=typescript)
    flow(engine, "node", "built/flow.js", at=typescript)
