"""Bugs can be planted in the engine's processes, by tests alone, and each changes what the engine does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from django.db import OperationalError

import orders
from config.env import ROOT
from engine.orders import OrderType
from orders import models
from orders.flow import dbsync, decisions, execution, limits, progress, recovery, settlement, waiting
from orders.flow import sweep as sweeping
from orders.stores import attempts, book, live, rebuild_marks, swaps
from routing import epochs, store, wiring
from routing.chain import ChainUnreachable
from routing.store import now_ms, redis
from tests.chaos import run
from tests.chaos.plan.faults import USUAL, faults
from tests.chaos.planted import __main__ as command
from tests.chaos.planted import planting
from tests.chaos.planted.bugs import BUGS, Edit
from tests.chaos.planted.environment import planted
from tests.chaos.planted.planting import Misplaced, Planter
from tests.factories import AttemptFactory, OrderFactory
from tests.orders.swapping import claimed, swap

PAIR = "SOL-USDC"
SAY = """
import config.settings, django
django.setup()
import orders.flow.duties
from tests.chaos.planted.planting import changed
print(*sorted(changed))
"""


@pytest.fixture
def with_bug(monkeypatch):
    """Return what loads modules of `orders` once more, with a bug in them, beside those that everybody else has."""

    def load(bug, *names):
        monkeypatch.setattr(sys, "meta_path", [Planter(BUGS[bug]), *sys.meta_path])
        monkeypatch.setattr(store, "lua", planting.reading(BUGS[bug], store.lua))
        for name in names:
            wing, _, module = name.partition(".")
            monkeypatch.delitem(sys.modules, f"orders.{name}")
            monkeypatch.setattr(getattr(orders, wing), module, getattr(getattr(orders, wing), module))
        return [import_module(f"orders.{name}") for name in names]

    return load


def said(name):
    """Import the engine in a process of its own, and say which of its files are changed there."""
    environ = {**os.environ, **(planted(name) if name in BUGS else {"PLANTED_BUG": name, "PYTHONPATH": PATH})}
    command = [sys.executable, "-c", SAY]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


PATH = planted("sweep_forgotten")["PYTHONPATH"]


def test_there_are_ten_and_each_can_be_planted_in_the_code_as_it_is():
    assert len(BUGS) == 10
    for bug in BUGS.values():
        planting.check(bug)
        assert bug.step and all(edit.says != edit.becomes for edit in bug.edits)


def test_a_bug_whose_place_is_not_there_just_once_is_refused():
    for says in ("not there any more", "due"):
        with pytest.raises(Misplaced, match=r"orders/flow/sweep\.py"):
            planting.check(replace(BUGS["sweep_forgotten"], edits=(Edit("orders/flow/sweep.py", says),)))


def test_a_process_that_is_told_so_has_the_bug_in_python_and_in_lua():
    bug = BUGS["terms_not_bound"]
    done = said(bug.name)
    assert done.stdout.split() == sorted({edit.file for edit in bug.edits}), done.stderr


def test_nothing_is_planted_unasked():
    assert said("").stdout.strip() == ""


def test_a_bug_that_nobody_knows_ends_the_process():
    assert "there is no bug 'typo'" in said("typo").stderr


def test_the_engine_knows_nothing_of_them():
    rooms = ("engine", "routing", "orders", "workers", "config", "deploy")
    for path in (path for room in rooms for path in Path(ROOT / room).rglob("*.py")):
        assert "PLANTED_BUG" not in path.read_text(), path


def test_an_aim_lets_happen_what_it_names_and_nothing_else():
    for bug in BUGS.values():
        kinds = {one.kind for one in faults(1, 60, bug.aim)}
        assert kinds - {"freeze"} == bug.aim.per_minute.keys() - {"freeze"}, bug.name
    assert faults(1, 60) == faults(1, 60, USUAL)


@pytest.mark.parametrize(
    ("asked", "violations", "code", "says"),
    [
        ([], {"unfinished": 3}, 0, "3 unfinished"),
        ([], {}, 1, "NOT FOUND"),
        (["--sound"], {}, 0, "none"),
        (["--sound"], {"unfinished": 3}, 1, "3 unfinished"),
    ],
)
def test_the_command_says_what_found_each_and_fails_for_one_that_nothing_found(
    monkeypatch, capsys, asked, violations, code, says
):
    monkeypatch.setattr(sys, "argv", ["planted", *asked, "sweep_forgotten"])
    monkeypatch.setattr(command, "by_run", lambda bug, given: violations)
    assert command.main() == code
    assert capsys.readouterr().out.splitlines()[-1] == f"| sweep_forgotten | run, seed 1 | {says} |"


@pytest.mark.system
@pytest.mark.long
def test_a_short_run_finds_a_sweep_that_was_forgotten(tmp_path):
    report = tmp_path / "report.json"
    asked = ["--plant", "sweep_forgotten", "--minutes", "0.2", "--rate", "20", "--calm", "15", "--json", str(report)]
    assert run.main(asked) == run.EXIT_WRONG
    assert "unfinished" in json.loads(report.read_text())["violations"]


def test_without_fence_and_seq_whoever_knows_the_status_moves_an_order(bench, with_bug):
    (order_id,) = bench.place()
    stale = swap(claimed(order_id), seq=9, fence="another")
    assert swaps.advance(epochs.current(), [stale]) == set()
    _, buggy = with_bug("fence_not_checked", "stores.scripts", "stores.swaps")
    assert buggy.advance(epochs.current(), [stale]) == {order_id}


def test_without_the_commit_before_it_bytes_leave_that_no_attempt_knows(bench, with_bug, monkeypatch):
    known = []
    monkeypatch.setattr(settlement, "deliver", lambda raws: known.append(models.Attempt.objects.count()) or True)
    bench.quote_all()
    execution.carry(bench.place())
    (buggy,) = with_bug("attempt_not_committed", "flow.execution")
    buggy.carry(bench.place())
    assert known == [1, 1], "the second has no row of its own when it leaves"


def test_what_is_not_answered_is_open_and_with_the_bug_it_is_expired(bench, with_bug, monkeypatch):
    def silent(_):
        raise ChainUnreachable("no answer")

    monkeypatch.setattr(wiring.chain(), "send", silent)
    states = []
    for module in (settlement, *with_bug("resigned_on_timeout", "flow.settlement")):
        monkeypatch.setattr(execution, "settlement", module)
        bench.quote_all()
        (order_id,) = bench.place()
        execution.carry([order_id])
        states += models.Attempt.objects.filter(order=order_id).values_list("state", flat=True)
    assert states == ["sent", "expired"]


def test_what_is_out_of_its_bucket_is_on_record_and_with_the_bug_it_is_not(bench, with_bug):
    for module, is_known in (
        (book, True),
        *((one, False) for one in with_bug("bucket_popped_unclaimed", "stores.book")),
    ):
        ids = bench.accept(bench.limit("150"))
        bench.price("151")
        before = book.claimed([PAIR])
        assert module.claim(PAIR, limits.sight([PAIR])[PAIR], now_ms()).ids == tuple(ids)
        assert (book.claimed([PAIR]) - before == set(ids)) is is_known


def test_the_sweep_finds_an_order_nobody_was_told_of_and_with_the_bug_it_does_not(bench, with_bug):
    (order_id,) = bench.place()
    bench.pass_time(order_id, live.GRACE_MS)
    (buggy,) = with_bug("sweep_forgotten", "flow.sweep")
    assert (buggy.sweep(), sweeping.sweep()) == (0, 1)


def test_an_end_leaves_decided_attempts_alone_and_with_the_bug_it_does_not(bench, with_bug):
    attempt = AttemptFactory(state="rejected")
    (buggy,) = with_bug("attempt_updated_unconditionally", "flow.decisions")
    states = []
    for module in (decisions, buggy):
        module.withdraw([str(attempt.order_id)])
        attempt.refresh_from_db()
        states.append(attempt.state)
    assert states == ["rejected", "withdrawn"]


def test_an_amendment_reaches_the_live_order_and_with_the_bug_it_does_not(bench, with_bug, monkeypatch):
    _, buggy = with_bug("terms_not_bound", "stores.scripts", "stores.swaps")
    amounts = []
    for module in (swaps, buggy):
        monkeypatch.setattr(decisions, "swaps", module)
        (order_id,) = bench.accept(bench.limit("150", amount=1_000_000_000))
        waiting.amend(order_id, 1, {"amount_in": 7_000_000_000})
        amounts.append(live.standing([order_id])[order_id].order.amount_in)
    assert amounts == [1_000_000_000 * times for times in (7, 1)]


def test_an_attempt_on_old_terms_is_refused_and_with_the_bug_it_stands(bench, with_bug):
    order = OrderFactory(type=OrderType.LIMIT, limit_price="150", terms_seq=2)
    (buggy,) = with_bug("terms_not_bound", "stores.attempts")
    assert attempts.prepare([old_terms(order)]).stands == set()
    assert buggy.prepare([old_terms(order)]).stands == {str(order.pk)}


def old_terms(order):
    """Make an attempt on the terms with which an order was placed."""
    return attempts.Prepared(
        str(order.pk), 1, "METEORA", f"{order.pk}", b"", last_valid_height=1_000, expected_out=2, minimum_out=1,
        fee_bps=20, amount_in=1, limit_price="150", terms_seq=1, epoch=0, seq=4, told=(), at=0,
    )  # fmt: skip


def test_an_end_that_postgres_did_not_take_is_told_to_nobody_and_with_the_bug_it_is(bench, with_bug, monkeypatch):
    def away(*_):
        raise OperationalError("Postgres is away")

    told = []
    for module in (decisions, *with_bug("end_told_before_commit", "flow.decisions")):
        monkeypatch.setattr(progress, "decisions", module)
        monkeypatch.setattr(module, "commit", away)
        (order_id,) = bench.accept(bench.limit("150"))
        with pytest.raises(OperationalError):
            waiting.cancel(order_id)
        told.append(bench.statuses(order_id))
    assert told == [["pending"], ["pending", "cancelled"]]


def test_a_rebuild_goes_through_all_pages_and_with_the_bug_through_the_first(bench, with_bug, monkeypatch):
    ids = bench.accept(*(bench.limit("150") for _ in range(3)))
    restored = []
    for module in (recovery, *with_bug("rebuilt_too_early", "flow.recovery")):
        monkeypatch.setattr(module, "PAGE", 2)
        redis().flushdb()
        epochs.forget()
        module.recover()
        restored.append((len(live.statuses(ids)), rebuild_marks.is_rebuilt(epochs.current())))
    assert restored == [(3, True), (2, True)]


def test_what_nobody_has_read_stays_in_the_feed_and_with_the_bug_it_goes_with_its_age(bench, with_bug, monkeypatch):
    left = []
    for module in (dbsync, *with_bug("feed_trimmed_unread", "flow.dbsync")):
        redis().delete(live.FEED)
        redis().xadd(live.FEED, {"b": "nobody has read this"}, id="1-0")
        module.group.ensure()
        monkeypatch.setattr(module, "trimmed_at", float("-inf"))
        module.trim()
        left.append(redis().xlen(live.FEED))
    assert left == [1, 0]
