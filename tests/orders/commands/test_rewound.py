"""Commands that follow an order before an engine that takes back what it told: people read it, and scripts."""

import json
import threading

import pytest

from orders.management.commands.watch import Follower
from orders.operations import story
from tests.orders.commands.standin import CONFIRMED, DROP, FAILED, ID, INTERRUPT, LIFE, PENDING, ROUTING, told, watch
from tests.orders.commands.test_order import order

REWOUND = {"orderId": ID, "rewoundTo": 2, "epoch": 4, "reason": "Redis was lost"}
WORDS = "Redis was lost: events after step 2 are withdrawn; the order continues from there"


def of(epoch, *events):
    """Return events as told in an epoch."""
    return [{**event, "epoch": epoch} for event in events]


TOLD = [*of(3, *LIFE[:4]), REWOUND, *of(4, *LIFE[2:])]


def test_a_rewind_is_told_in_words_and_the_right_stages_follow(engine, capsys):
    engine.sockets = [TOLD]
    assert order(engine) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    stages = ["pending", "routing", "building", "submitted", "rewound", "building", "submitted", "confirmed"]
    assert [line.split()[2] for line in lines] == stages
    assert lines[4].endswith(f"rewound    {WORDS}")


def test_watch_tells_a_rewind_in_the_columns_of_the_events(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=1))]
    engine.sockets = [[*of(3, *LIFE[:4]), DROP], [REWOUND, *of(4, *LIFE[2:])]]
    assert watch(engine) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[4].strip() == f"rewound    {WORDS}"
    assert {line.index(word) for line, word in zip(lines[3:6], ["submitted", "rewound", "building"], strict=True)} == {
        26
    }
    assert engine.asked == [f"/ws/{ID}", f"/ws/{ID}?after=4&epoch=3"]


def test_a_rewind_without_a_reason_is_told_too():
    message = {name: fact for name, fact in REWOUND.items() if name != "reason"}
    assert story.told(message).startswith("the engine lost part of its history: events after step 2 are withdrawn")


def test_json_has_the_rewind_where_it_came(engine, capsys):
    engine.sockets = [TOLD]
    assert order(engine, "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == TOLD


def test_the_exit_code_is_that_of_the_end_that_counts(engine):
    engine.sockets = [[*of(3, PENDING, ROUTING, LIFE[2]), REWOUND, *of(4, FAILED)]]
    assert order(engine) == 1


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_after_a_rewind_claims_no_stage_that_was_withdrawn(engine, capsys, monkeypatch):
    shown, show = threading.Event(), Follower.show

    def watched(self, text):
        show(self, text)
        if "rewound" in text:
            shown.set()

    monkeypatch.setattr(Follower, "show", watched)
    waiting = {**PENDING, "type": "limit", "limitPrice": "155.2", "timeInForce": "gtc"}
    rested = told(3, "pending", returned={"code": "no_quote", "message": "the price has gone", "inMs": 500})
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[*of(3, waiting, ROUTING, rested), REWOUND, shown, INTERRUPT]]
    assert watch(engine) == 130
    assert f"Order {ID} continues without you" in capsys.readouterr().err


def test_watch_goes_on_after_an_event_of_an_epoch_even_of_an_order_that_ended_at_that_step(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(status="confirmed", seq=5, epoch=4))]
    engine.sockets = [[REWOUND, *of(4, *LIFE[2:])]]
    assert watch(engine, "--after", "5", "--epoch", "3", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [REWOUND, *of(4, *LIFE[2:])]
    assert watch(engine, "--after", "5", "--epoch", "4", "--json") == 0
    assert watch(engine, "--after", "5", "--json") == 0
    assert engine.asked == [f"/ws/{ID}?after=5&epoch=3"]


def test_an_older_engine_is_followed_as_before(engine, capsys):
    engine.sockets = [[*LIFE[:2], DROP], LIFE[2:]]
    assert order(engine, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == CONFIRMED
    assert engine.asked == [f"/ws/{ID}", f"/ws/{ID}?after=2"]
