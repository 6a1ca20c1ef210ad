"""What the README shows is true: its examples run, and its table of settings is the engine's."""

import os
import re
import subprocess
import sys

import pytest

from config.env import ROOT, TABLE
from tests.bearer import API_KEY
from tests.flows.readme import README, block, browser, node
from tests.system import NO_DELAYS, eventually, system


@pytest.fixture(scope="module")
def engine():
    with system(NO_DELAYS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


def run(command: list[str], text: str, engine, environ: dict[str, str] | None = None) -> str:
    script = text.replace("127.0.0.1:8000", f"127.0.0.1:{engine.port}").replace(".data/", f"{engine.data_dir}/")
    done = subprocess.run(
        [*command, script], env=environ, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
@pytest.mark.parametrize("kind", ["market", "limit", "sniper"])
def test_the_curl_example_places_an_order(engine, kind):
    answer = run(["bash", "-c"], block("bash", f'"type":"{kind}"'), engine)
    assert " 202 " in answer.splitlines()[0]
    assert '"orderId"' in answer


STAGES = ["pending", "routing", "building", "submitted", "confirmed"]


def stages(shown: str) -> list[str]:
    """Return the statuses that an example printed, one event a line, in the order of their seq."""
    lines = [line.split() for line in shown.splitlines()]
    assert [line[0] for line in lines] == [str(seq) for seq in range(1, len(lines) + 1)]
    return [line[1] for line in lines]


@pytest.mark.system
def test_the_python_example_watches_an_order_to_its_end(engine):
    assert stages(run([sys.executable, "-c"], block("python", "orders.client"), engine)) == STAGES


@pytest.mark.system
def test_the_example_without_asyncio_executes_amends_and_cancels(engine):
    *filled, amended, ended = run([sys.executable, "-c"], block("python", "SyncClient"), engine).splitlines()
    assert stages("\n".join(filled)) == STAGES
    assert (amended, ended) == ("2 pending 560", "cancelled")


@pytest.mark.system
def test_the_javascript_example_watches_an_order_to_its_end_in_node(engine):
    environ = {**os.environ, API_KEY: engine.api_key}
    assert stages(run(node(), block("javascript", "WebSocket"), engine, environ)) == STAGES


KEPT = "window.shown = []; console.log = (...words) => window.shown.push(words.join(' '));"
CUT = """
const Whole = WebSocket;
window.opened = [];
// Every socket but the last is cut after two messages.
window.WebSocket = function (address) {
  const socket = new Whole(address);
  const cutting = window.opened.push(address) < 3;
  let heard = 0;
  if (cutting) socket.addEventListener("message", () => { if (++heard === 2) socket.close(3000); });
  return socket;
};
"""


@pytest.mark.system
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_the_javascript_example_watches_an_order_to_its_end_in_a_browser(engine, cut):
    with browser() as chromium:
        page = chromium.new_page(extra_http_headers=engine.headers)
        page.goto(f"{engine.url}/healthz")
        example = block("javascript", "WebSocket")
        page.evaluate(f"(async () => {{ {KEPT} {CUT if cut else ''} {example} }})()")
        shown, opened = page.evaluate("[window.shown, window.opened]")
    assert stages("\n".join(shown)) == STAGES
    if cut:
        assert [re.findall(r"after=(\d+)", address) for address in opened] == [[], ["2"], ["4"]]


def test_the_table_of_settings_is_complete_and_true():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.MULTILINE))
    assert rows == {name: f"`{setting.default}`" if setting.default else "" for name, setting in TABLE.items()}


def test_the_runbook_says_what_to_do_for_every_alert():
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "deploy/monitoring/alerts.yml").read_text())
    told = re.findall(r"^\| ([A-Z]\w+) \| .+ \| .+ \| `(/\S+)` \|$", README, re.MULTILINE)
    assert [name for name, _ in told if name in alerts] == alerts
    pages = re.findall(r"          page: (\S+)", (ROOT / "deploy/monitoring/alerts.yml").read_text())
    assert [page for name, page in told if name in alerts] == pages
