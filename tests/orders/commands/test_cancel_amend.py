"""The commands `cancel` and `amend`."""

import pytest

from tests.orders.commands.standin import ID, OTHER, PRICE, error, refused, run


# cancel
def cancel(engine, *more):
    return run("cancel", *more, "--url", engine.url)


def test_cancel_cancels_each_order_it_is_given(engine, capsys):
    engine.answers["DELETE"] = [(200, engine.order(status="cancelled", seq=2))]
    assert cancel(engine, ID, OTHER) == 0
    assert [(method, path) for method, path, _, _ in engine.heard] == [
        ("DELETE", f"/api/orders/{ID}"),
        ("DELETE", f"/api/orders/{OTHER}"),
    ]
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{ID} cancelled", f"{OTHER} cancelled", "2 cancelled, 0 no longer resting"]


def test_an_order_that_rested_no_longer_is_told_with_the_status_that_won_and_exits_1(engine, capsys):
    engine.answers["DELETE"] = [(409, error("not_resting"))]
    engine.answers["GET"] = [(200, engine.order(status="confirmed", seq=6))]
    assert cancel(engine, ID) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{ID} was not cancelled: it no longer rests, it is confirmed\n"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "it had fired and rests again; try again"),
        ({"timeInForce": "ioc"}, "it never rests: it executes at once or not at all"),
        ({"type": "market", "limitPrice": None, "timeInForce": None}, "it never rests"),
    ],
)
def test_an_order_that_is_pending_and_was_not_cancelled_is_told_with_why(engine, capsys, facts, words):
    engine.answers["DELETE"] = [(409, error("not_resting"))]
    engine.answers["GET"] = [(200, engine.order(seq=4, **facts))]
    assert cancel(engine, ID) == 1
    assert words in capsys.readouterr().err


def test_cancelling_twice_is_no_failure(engine, capsys):
    engine.answers["DELETE"] = [(409, error("not_resting"))]
    engine.answers["GET"] = [(200, engine.order(status="cancelled", seq=2))]
    assert cancel(engine, ID) == 0
    assert capsys.readouterr().out == f"{ID} already cancelled\n"


def test_an_unknown_order_exits_2_and_keeps_the_others_from_nothing(engine, capsys):
    engine.answers["DELETE"] = [(404, error("not_found", "there is no such order")), (200, engine.order())]
    assert cancel(engine, ID, OTHER) == 2
    said = capsys.readouterr()
    assert said.err == f"{ID} was not cancelled: not_found: there is no such order\n"
    assert said.out.splitlines() == [f"{OTHER} cancelled", "1 cancelled, 0 no longer resting, 1 refused"]


@pytest.mark.parametrize(("more", "query"), [([], "pair=SOL-USDC"), (["--type", "limit"], "pair=SOL-USDC&type=limit")])
def test_cancel_takes_all_that_rest_of_a_pair(engine, capsys, more, query):
    engine.answers["DELETE"] = [(200, {"pair": "SOL-USDC", "cancelled": 3, "lost": 0, "complete": True})]
    assert cancel(engine, "--pair", "SOL-USDC", *more) == 0
    assert engine.heard == [("DELETE", f"/api/orders?{query}", None, None)]
    assert capsys.readouterr().out == "SOL-USDC: 3 cancelled, 0 no longer resting\n"


def test_orders_of_a_pair_that_were_lost_to_a_fill_exit_1(engine, capsys):
    engine.answers["DELETE"] = [(200, {"pair": "SOL-USDC", "cancelled": 3, "lost": 1, "complete": True})]
    assert cancel(engine, "--pair", "SOL-USDC") == 1
    assert "3 cancelled, 1 no longer resting" in capsys.readouterr().out


def test_a_pair_that_was_not_gone_through_to_the_end_exits_1_and_says_so(engine, capsys):
    engine.answers["DELETE"] = [(200, {"pair": "SOL-USDC", "cancelled": 3, "lost": 0, "complete": False})]
    assert cancel(engine, "--pair", "SOL-USDC") == 1
    assert "run it again for the rest" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], [ID, "--pair", "SOL-USDC"], [ID, "--type", "limit"], ["--type", "limit"]])
def test_cancel_wants_ids_or_a_pair_and_never_both(engine, words):
    code, message = refused("cancel", *words, "--url", engine.url)
    assert code == 2
    assert "order ids, or --pair" in message
    assert engine.heard == []


# amend
AMENDED = {"kind": "amended", "amended": {"limitPrice": {"from": "155.2", "to": "156"}}}


def amend(engine, *more):
    return run("amend", ID, *more, "--url", engine.url)


def test_amend_reads_the_last_event_and_changes_the_order_as_it_stood_then(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=3))]
    engine.answers["PATCH"] = [(200, engine.order(seq=4, limitPrice="156", result=AMENDED))]
    assert amend(engine, "--price", "156") == 0
    assert engine.heard == [
        ("GET", f"/api/orders/{ID}", None, None),
        ("PATCH", f"/api/orders/{ID}", {"limitPrice": "156"}, '"3"'),
    ]
    assert capsys.readouterr().out == f"order {ID} amended: limit from 155.2 to 156; last event 4\n"


def test_amend_with_a_seq_reads_nothing_first(engine):
    engine.answers["PATCH"] = [(200, engine.order(seq=4, result=AMENDED))]
    assert amend(engine, "--price", "156", "--seq", "3") == 0
    assert [(method, match) for method, _, _, match in engine.heard] == [("PATCH", '"3"')]


def test_amend_sends_what_was_given_and_null_for_what_is_to_go(engine):
    engine.answers["PATCH"] = [(200, engine.order(seq=4, result=AMENDED))]
    amend(engine, "--seq", "3", "--amount", "3", "--expires", "never", "--max-price", "none")
    amend(engine, "--seq", "3", "--expires", "2026-11-22T18:00:00Z", "--max-price", "0.02")
    assert [body for _, _, body, _ in engine.heard] == [
        {"amount": "3", "expiresAt": None, "maxPrice": None},
        {"expiresAt": "2026-11-22T18:00:00Z", "maxPrice": "0.02"},
    ]


def test_an_order_that_is_so_already_is_not_called_amended(engine, capsys):
    engine.answers["PATCH"] = [(200, engine.order(seq=3, result=AMENDED))]
    assert amend(engine, "--price", "156", "--seq", "3") == 0
    assert "nothing changed" in capsys.readouterr().out


def test_an_order_that_fires_at_its_new_price_at_once_is_told_as_amended(engine, capsys):
    engine.answers["PATCH"] = [(200, engine.order(seq=5, status="triggered", result={"trigger": PRICE}))]
    assert amend(engine, "--price", "1", "--seq", "3") == 0
    assert capsys.readouterr().out == f"order {ID} amended; it is now triggered, last event 5\n"


def test_an_order_that_changed_meanwhile_is_left_alone_and_told_with_its_new_seq(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(seq=3)), (200, engine.order(seq=5))]
    engine.answers["PATCH"] = [(412, error("changed"))]
    assert amend(engine, "--price", "156") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"order {ID} was not amended: it changed meanwhile; it is pending, its last event 5 and not 3" in said.err
    assert f"watch {ID} --after 3" in said.err
    assert [method for method, _, _, _ in engine.heard] == ["GET", "PATCH", "GET"]


def test_an_order_that_no_longer_rests_is_not_amended_and_exits_1(engine, capsys):
    engine.answers["GET"] = [(200, engine.order(status="confirmed", seq=6))]
    engine.answers["PATCH"] = [(409, error("not_resting"))]
    assert amend(engine, "--price", "156") == 1
    assert capsys.readouterr().err == f"order {ID} was not amended: it no longer rests, it is confirmed\n"


def test_an_amendment_the_engine_refuses_names_the_field(engine):
    field = {"field": "limitPrice", "value": "0", "message": "must be above 0", "accepted": "a decimal above 0"}
    engine.answers["PATCH"] = [(400, error("invalid", "limitPrice must be above 0", [field]))]
    code, message = refused("amend", ID, "--price", "0", "--seq", "1", "--url", engine.url)
    assert code == 2
    assert "limitPrice='0'; accepted: a decimal above 0" in message


def test_amend_wants_something_to_change(engine):
    code, message = refused("amend", ID, "--url", engine.url)
    assert code == 2
    assert "--price, --amount, --expires or --max-price" in message
    assert engine.heard == []
