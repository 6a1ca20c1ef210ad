"""What the README shows is true: its examples run, and its table of settings is the engine's."""

import re
import subprocess
import sys

import pytest

from config.env import ROOT, TABLE
from tests.system import NO_DELAYS, eventually, system

README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """Return the README's first code block in that language that contains this."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.fixture(scope="module")
def engine():
    with system(NO_DELAYS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


def run(command: list[str], text: str, engine) -> str:
    script = text.replace("127.0.0.1:8000", f"127.0.0.1:{engine.port}")
    done = subprocess.run([*command, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
@pytest.mark.parametrize("kind", ["market", "limit", "sniper"])
def test_the_curl_example_places_an_order(engine, kind):
    answer = run(["bash", "-c"], block("bash", f'"type":"{kind}"'), engine)
    assert " 202 " in answer.splitlines()[0]
    assert '"orderId"' in answer


@pytest.mark.system
def test_the_python_example_watches_an_order_to_its_end(engine):
    shown = run([sys.executable, "-c"], block("python", "websockets"), engine)
    stages = [line.split()[1] for line in shown.splitlines()]
    assert stages == ["pending", "routing", "building", "submitted", "confirmed"]


def test_the_table_of_settings_is_complete_and_true():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.MULTILINE))
    assert rows == {name: f"`{setting.default}`" if setting.default else "" for name, setting in TABLE.items()}
