"""The README's JavaScript before an engine that takes back what it told, ends a stream too early or breaks it."""

import json
import subprocess
from collections import deque

import pytest
from hypothesis import example, given, settings

from tests.client.forgetful import (
    HOLD,
    ID,
    LAST,
    REASON,
    RESTARTING,
    SCRIPTS,
    SEEN,
    Cut,
    End,
    Forgetful,
    Happen,
    Lose,
    RewindAgain,
    Scripted,
    Send,
    Skip,
    served,
)
from tests.flows.readme import block, browser, node
from tests.system import eventually

EXAMPLE = block("javascript", "WebSocket")
FOLLOW = EXAMPLE[EXAMPLE.index("const FINAL") : EXAMPLE.index("const order =")]
PAUSE = "500)"
"""How the example says for how long it waits before it comes back."""
TAKEN_BACK = [*SEEN, Lose(2), Happen(), Send(), Cut(RESTARTING), Lose(1), Happen(), End()]
PRINTED = [
    *("1 pending ", "2 routing ", "3 routing ", f"back to 2 {REASON}", "3 routing "),
    *(f"back to 1 {REASON}", "2 routing ", "3 confirmed "),
]

COLLECT = """
async (link) => {
  const told = [];
  const all = async () => { for await (const one of follow(link)) told.push(one); };
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error("it has no end")), 30_000));
  const failed = await Promise.race([all(), late]).then(() => null, (reason) => reason.message);
  return { told, failed };
}
"""


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def page(chromium, server):
    """A page that has the example's function, which comes back at once."""
    assert FOLLOW.count(PAUSE) == 1
    page = chromium.new_page()
    page.goto(server.url)
    page.evaluate(f"{FOLLOW.replace(PAUSE, '1)')}; window.follow = follow;")
    return page


def followed(server, page, engine):
    """Follow an order with the example; return what it yielded and what it failed with."""
    server.engine = engine
    found = page.evaluate(COLLECT, server.link)
    return found["told"], found["failed"]


def left(told):
    """Drop what was withdrawn, as the consumer must; nothing may come twice, early or be withdrawn in vain."""
    held = []
    for one in told:
        if "rewoundTo" in one:
            assert 1 <= one["rewoundTo"] < len(held)
            del held[one["rewoundTo"] :]
        else:
            assert one["seq"] == len(held) + 1
            held.append(one)
    return held


@given(SCRIPTS)
@settings(max_examples=50)
@example([*SEEN, Cut(RESTARTING), Lose(1), Happen(), End()])
@example([*SEEN, Lose(1), Happen(), Send(), RewindAgain(), Happen(), End()])
@example([*SEEN, Lose(3), Happen(), Skip(), Lose(2, 1), Send(), Send(), End()])
def test_whoever_drops_what_is_withdrawn_ends_with_exactly_the_engines_history(server, page, script):
    engine = Forgetful(deque(script))
    told, failed = followed(server, page, engine)
    assert failed is None
    assert left(told) == engine.history


def test_it_comes_back_with_seq_and_epoch(server, page):
    engine = Forgetful(deque(TAKEN_BACK))
    followed(server, page, engine)
    assert engine.asked == [(0, 0), (3, 2)]


def made(*statuses):
    """Write events of these statuses."""
    return [{"orderId": ID, "epoch": 1, "seq": seq, "status": status} for seq, status in enumerate(statuses, 1)]


def test_an_end_without_the_final_event_is_an_error_once_and_no_loop(server, page):
    waiting = made("pending", "triggered")
    engine = Scripted([[*waiting, RESTARTING], [LAST]])
    told, failed = followed(server, page, engine)
    assert told == waiting
    assert failed == "nothing follows event 2, and it is not final"
    assert engine.asked == [(0, 0), (2, 1)]


def test_an_end_after_news_is_asked_about_once_more(server, page):
    events = made("pending", "routing", "confirmed")
    engine = Scripted([[*events[:2], LAST], [*events[2:], LAST]])
    assert followed(server, page, engine) == (events, None)
    engine = Scripted([[*events[:2], LAST], [LAST]])
    assert followed(server, page, engine) == (events[:2], "nothing follows event 2, and it is not final")
    assert len(engine.asked) == 2


def test_an_event_that_is_missing_is_asked_for_at_once(server, page):
    events = made("pending", "routing", "confirmed")
    engine = Scripted([[events[0], events[2], HOLD], events[1:]])
    assert followed(server, page, engine) == (events, None)
    assert engine.asked == [(0, 0), (1, 1)]
    eventually(lambda: not server.open, 10, "no socket is left behind")


def test_a_refusal_is_an_error_at_once(server, page):
    engine = Scripted([[{"error": {"code": "not_found", "message": "there is no such order"}}, 4404]])
    assert followed(server, page, engine) == ([], "refused with close code 4404")
    assert len(engine.asked) == 1


def answered(link):
    """Return the whole example, whose order was accepted by an engine with this stream."""
    accepted = json.dumps({"links": {"ws": link}})
    return f"globalThis.fetch = async () => ({{ ok: true, json: async () => ({accepted}) }});\n{EXAMPLE}"


def test_a_browser_shows_what_is_taken_back(server, chromium):
    server.engine = Forgetful(deque(TAKEN_BACK))
    page, shown = chromium.new_page(), []
    page.on("console", lambda message: shown.append(message.text))
    page.goto(server.url)
    page.evaluate(f"(async () => {{ {answered(server.link)} }})()")
    assert shown == PRINTED


def test_node_shows_what_is_taken_back(server):
    server.engine = Forgetful(deque(TAKEN_BACK))
    done = subprocess.run([*node(), answered(server.link)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTED
