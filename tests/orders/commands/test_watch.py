"""The command `watch`."""

import json

import pytest

from tests.orders.commands.standin import HOLD, ID, INTERRUPT, LIFE, LIMIT, error, refused, told, watch


def test_watch_shows_an_order_from_its_first_event_with_the_time_of_each(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=1))]
    assert watch(engine) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"order {ID}: pending, last event 1"
    assert [line.split()[:2] for line in lines] == [[event["at"], event["status"]] for event in LIFE]
    assert engine.heard == [("GET", f"/api/orders/{ID}", None, None)]
    assert engine.asked == [f"/ws/{ID}"]


def test_watch_goes_on_after_the_event_it_is_told(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=3))]
    engine.sockets = [LIFE[3:]]
    assert watch(engine, "--after", "3", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == LIFE[3:]
    assert engine.asked == [f"/ws/{ID}?after=3"]


@pytest.mark.parametrize(("status", "code"), [("confirmed", 0), ("cancelled", 1)])
def test_watch_asks_for_no_events_when_none_can_come(engine, capsys, status, code):
    engine.answers["GET"] = [(200, engine.order(status=status, seq=5))]
    assert watch(engine, "--after", "5") == code
    assert capsys.readouterr().out == f"order {ID}: {status}, last event 5\n"
    assert engine.asked == []


def test_watch_of_an_order_that_ends_otherwise_exits_1(engine):
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[LIMIT, told(2, "expired", 0, reason="expiresAt has passed")]]
    assert watch(engine) == 1


def test_watch_of_an_unknown_order_exits_2(engine):
    engine.answers["GET"] = [(404, error("not_found", f"there is no order {ID}"))]
    assert refused("watch", ID, "--url", engine.url) == (2, f"not_found: there is no order {ID}")


def test_watch_is_told_when_the_engine_has_nothing_past_the_event(engine):
    engine.answers["GET"] = [(200, engine.order(seq=3))]
    engine.sockets = [[1000]]
    code, message = refused("watch", ID, "--after", "9", "--url", engine.url)
    assert code == 2
    assert "no event past 9" in message


def test_watch_gives_up_when_its_time_is_over(engine):
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[LIMIT, HOLD]]
    code, message = refused("watch", ID, "--timeout", "0.5", "--url", engine.url)
    assert code == 2
    assert "is not final after 0.5 s" in message


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_watching_exits_130_and_says_how_to_come_back(engine, capsys):
    engine.answers["GET"] = [(200, engine.order())]
    engine.sockets = [[LIMIT, INTERRUPT]]
    assert watch(engine) == 130
    assert f"python3 manage.py watch {ID}" in capsys.readouterr().err
