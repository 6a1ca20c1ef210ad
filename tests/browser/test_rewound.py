"""The desk before an engine that takes back what it told: the row and the open story show what counts, and say why."""

import pytest

from engine.event_kinds import Cancelled, Head
from orders.api.examples import EXECUTED, ORDER_ID, RETURNED
from orders.stores import event_codec
from tests.browser.desk import NOTHING
from tests.browser.wire import Wire

pytestmark = pytest.mark.system

PENDING, TRIGGERED = RETURNED[0], RETURNED[2]
LIFE = [PENDING, TRIGGERED, *EXECUTED]
CANCELLED = (1, Cancelled("cancelled by the client"))
STAGES = ["pending", "triggered", "routing", "building", "submitted", "confirmed"]
SHOWN = """
window.shown = [];
new MutationObserver((changes) => {
  for (const { target } of changes) window.shown.push([target.dataset.order, target.dataset.status]);
}).observe(document.querySelector("#rows"), { subtree: true, attributes: true, attributeFilter: ["data-status"] });
"""


def of(epoch, *lived, first=1):
    """Write events of an epoch, counted from the first."""
    return [
        event_codec.as_dict(Head(ORDER_ID, epoch, seq, facts.status, f"2026-11-22T12:00:{seq:02}.000Z", tries), facts)
        for seq, (tries, facts) in enumerate(lived, first)
    ]


def lost(to, epoch):
    return {"rewoundTo": to, "epoch": epoch, "reason": "Redis was lost"}


TAKEN_BACK = (
    "The engine lost part of this order's history and restored it: Redis was lost."
    " Steps after {} are withdrawn; the order continues from there."
)


@pytest.fixture
def order_id(desk):
    """An order that rests: nothing but what the wire tells happens to it."""
    placed = desk.post(type="limit", tokenIn="SOL", tokenOut="USDC", amount="1.5", limitPrice="999")
    desk.rewound.add(placed)
    yield placed
    desk.http.delete(f"/api/orders/{placed}")


@pytest.fixture
def wire(desk, order_id):
    wire = Wire(desk, order_id)
    desk.page.evaluate(SHOWN)
    return wire


def shows(desk, order_id, seq):
    """Wait until the row has come to a step, forwards or backwards."""
    desk.until(lambda: desk.row(order_id).get_attribute("data-seq") == str(seq), f"step {seq}")


def line(*states):
    """Write a progress line: the states of its first segments, all others being still to come."""
    return list(zip(STAGES, [*states, *["left"] * (len(STAGES) - len(states))], strict=True))


def statuses(desk, order_id):
    """Return what the row said the order was, one after another."""
    return [status for one, status in desk.page.evaluate("window.shown") if one == order_id]


def test_an_open_story_drops_what_is_withdrawn_says_why_and_shows_what_follows(desk, order_id, wire):
    row = desk.row(order_id)
    wire.tell(*of(3, *LIFE[:5]))
    shows(desk, order_id, 5)
    assert desk.timeline(order_id) == [(str(seq), stage) for seq, stage in enumerate(STAGES[:5], 1)]
    assert row.locator(".attempts tbody tr").count() == 1

    wire.tell(lost(2, 4))
    shows(desk, order_id, 2)
    assert desk.stages(order_id) == line("done", "now")
    assert desk.timeline(order_id) == [("1", "pending"), ("2", "triggered")]
    assert TAKEN_BACK.format(2) in row.locator(".timeline li").last.inner_text()
    assert row.locator(".c-venue").inner_text().strip() == NOTHING
    assert row.locator(".c-problem").inner_text() == "Rewound to step 2: Redis was lost."
    assert row.locator(".attempts").inner_text().endswith("No transaction has been signed.")

    wire.tell(*of(4, *LIFE[2:], first=3))
    shows(desk, order_id, 6)
    assert desk.stages(order_id) == line(*["done"] * 6)
    assert desk.timeline(order_id) == [(str(seq), stage) for seq, stage in enumerate(STAGES, 1)]
    assert row.locator(".timeline li").nth(2).inner_text().startswith(TAKEN_BACK.format(2))
    assert row.locator(".attempts tbody tr").count() == 1
    assert [one for one in statuses(desk, order_id) if one in ("confirmed", "failed", "cancelled")] == ["confirmed"]


def test_a_line_that_broke_is_taken_up_by_seq_and_epoch_and_no_wrong_end_is_shown(desk, order_id, wire):
    assert wire.asked == [{"orderId": order_id, "after": 0}]
    wire.tell(*of(3, *LIFE[:5]))
    shows(desk, order_id, 5)
    wire.cut()
    assert wire.asked[1:] == [{"orderId": order_id, "after": 5, "epoch": 3}]
    wire.tell(lost(1, 5), *of(5, CANCELLED, first=2))
    desk.ends(order_id, "cancelled")
    assert statuses(desk, order_id)[-2:] in (["submitted", "cancelled"], ["pending", "cancelled"])
    assert desk.stages(order_id)[0] == ("cancelled", "cancelled")
    assert desk.timeline(order_id) == [("1", "pending"), ("2", "cancelled")]
    assert TAKEN_BACK.format(1) in desk.row(order_id).locator(".timeline").inner_text()


def test_rewinds_one_after_another_leave_one_story(desk, order_id, wire):
    wire.tell(*of(1, *LIFE[:4]), lost(3, 2), *of(2, *LIFE[3:5], first=4), lost(2, 3), *of(3, *LIFE[2:4], first=3))
    shows(desk, order_id, 4)
    desk.until(lambda: desk.stages(order_id) == line("done", "done", "done", "now"), "building again")
    told = desk.row(order_id).locator(".timeline")
    assert desk.timeline(order_id) == [(str(seq), stage) for seq, stage in enumerate(STAGES[:4], 1)]
    # The first of them stood behind an event that has gone itself.
    assert told.locator("li.back").all_inner_texts() == [told.locator("li").nth(2).inner_text()]
    wire.tell(lost(4, 4))
    wire.cut()
    assert wire.asked[-1] == {"orderId": order_id, "after": 4, "epoch": 4}
    assert told.locator("li.back").count() == 1


def test_an_event_of_a_history_that_nobody_told_of_is_asked_about_and_not_shown(desk, order_id, wire):
    wire.tell(*of(3, *LIFE[:3]), *of(4, *LIFE[1:2], first=2))
    desk.until(lambda: len(wire.asked) == 2, "the desk asks")
    assert wire.asked[1] == {"orderId": order_id, "after": 3, "epoch": 3}
    wire.tell(lost(1, 4), *of(4, *LIFE[1:], first=2))
    desk.ends(order_id, "confirmed")
    assert desk.timeline(order_id) == [(str(seq), stage) for seq, stage in enumerate(STAGES, 1)]
