"""How log lines name orders: one id finds all of them."""

import json

import pytest
import structlog

from orders.flow import waiting
from orders.telemetry import log_fields
from orders.telemetry.log_fields import about, named
from tests.orders.test_traces import worked
from tests.system import eventually


def test_one_order_is_named_alone_and_several_together():
    assert (about(["a"]), about(["a", "b"]), about({"a": 1}), about([])) == (
        {"order_id": "a"},
        {"order_ids": ["a", "b"]},
        {"order_id": "a"},
        {},
    )


def test_no_line_names_more_than_a_line_can_bear(monkeypatch):
    monkeypatch.setattr(log_fields, "ORDERS_MAX", 2)
    assert list(named({"a", "b"})) in ([{"order_ids": ["a", "b"]}], [{"order_ids": ["b", "a"]}])
    assert list(named(list("abc"))) == [{"order_ids": ["a", "b"]}, {"order_id": "c"}]
    assert list(named([])) == []


@pytest.fixture
def said():
    """Collect what is logged, with the context it is logged in."""
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as found:
        yield found


def test_orders_that_move_together_share_a_line_for_each_status(bench, said):
    bench.quote_all()
    ids = bench.place(3)
    bench.run(ids)
    moved = [line for line in said if line["event"] == "orders moved"]
    assert [line["status"] for line in moved] == ["building", "submitted", "confirmed"]
    assert all(set(line["order_ids"]) == set(ids) for line in moved)


def test_an_order_that_did_not_move_is_on_no_line(bench, said):
    kept, cancelled = bench.place(2)
    waiting.cancel(cancelled)
    del said[:]
    bench.quote_all()
    bench.run([kept, cancelled])
    assert not [line for line in said if line["event"] == "orders moved" and cancelled in json.dumps(line)]


def test_lines_of_orders_whose_venues_were_asked_still_carry_their_task(bench, said):
    (order_id,) = bench.place()
    with structlog.contextvars.bound_contextvars(task_id="t-7"):
        worked([order_id])
    eventually(lambda: bench.statuses(order_id)[-1:] == ["submitted"], 30, "the venues have answered")
    moved = [line for line in said if line["event"] == "orders moved"]
    assert {line["task_id"] for line in moved} == {"t-7"} and len(moved) == 2


def test_every_archived_order_is_named(bench, said):
    bench.quote_all()
    ids = bench.place(2)
    bench.run(ids)
    bench.archive()
    (line,) = [line for line in said if line["event"] == "orders saved"]
    assert set(line["order_ids"]) == set(ids)
