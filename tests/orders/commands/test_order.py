"""The command `order` for market orders, and what holds for every command."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from django.conf import settings
from django.core.management import get_commands

from tests.orders.commands.standin import (
    BUILDING,
    CONFIRMED,
    DROP,
    FAILED,
    HOLD,
    ID,
    INTERRUPT,
    LIFE,
    PENDING,
    ROUTING,
    SUBMITTED,
    manage,
    refused,
    run,
    told,
)


def order(engine, *more):
    return run("order", "market", "SOL", "USDC", "1.5", "--url", engine.url, *more)


def test_every_stage_is_shown_on_one_line_with_what_matters(engine, capsys):
    assert order(engine) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"order {ID}"
    assert [line.split()[2] for line in lines] == ["pending", "routing", "building", "submitted", "confirmed"]
    assert "sell 1.5 SOL-USDC at market, slippage at most 50 bps" in lines[0]
    assert "METEORA 154.9 less 20 bps pays 231.9 (350 ms old), RAYDIUM 154.9 less 20 bps pays 231.5" in lines[1]
    assert "METEORA pays 12 bps more than RAYDIUM" in lines[1]
    assert "expects 231.9, accepts no less than 230.7405" in lines[2]
    assert "5hash" in lines[3]
    assert "got 231.8 at 154.53, slippage 4.31 bps, fees 0.003 SOL and 5000 lamports" in lines[4]


def test_times_count_from_the_post_and_never_go_back(engine, capsys):
    order(engine)
    times = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert times == sorted(times)
    assert times[0] > 0


def test_json_writes_each_event_on_a_line_and_nothing_else(engine, capsys):
    assert order(engine, "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == LIFE


def test_the_order_is_posted_as_it_was_typed_with_a_name_of_its_own_if_it_was_given_none(engine):
    order(engine)
    order(engine)
    order(engine, "--slippage-bps", "75", "--client-order-id", "mine-1", "--amount-out", "200")
    names = [body.pop("clientOrderId") for _, body in engine.posted[:2]]
    assert len({*names, "mine-1"}) == 3
    plain = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
    assert engine.posted == [
        ("/api/orders/execute", plain),
        ("/api/orders/execute", plain),
        ("/api/orders/execute", plain | {"slippageBps": 75, "clientOrderId": "mine-1", "amountOut": "200"}),
    ]


def test_a_dropped_socket_is_taken_up_after_the_last_event_seen(engine, capsys):
    engine.sockets = [[PENDING, ROUTING, DROP], [DROP], [BUILDING, SUBMITTED, 1012], [CONFIRMED]]
    assert order(engine, "--json") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5]
    assert engine.asked == [f"/ws/{ID}", f"/ws/{ID}?after=2", f"/ws/{ID}?after=2", f"/ws/{ID}?after=4"]


def test_an_event_sent_twice_is_shown_once(engine, capsys):
    engine.sockets = [[PENDING, ROUTING, DROP], [PENDING, ROUTING, *LIFE[2:]]]
    assert order(engine, "--json") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5]


def test_a_retry_says_what_failed_and_when_the_next_try_comes(engine, capsys):
    retry = told(2, "routing", retry={"code": "venue_down", "message": "METEORA did not answer", "inMs": 180})
    engine.sockets = [[PENDING, retry, FAILED]]
    order(engine)
    assert "try 1 failed: METEORA did not answer (venue_down); next in 180 ms" in capsys.readouterr().out


@pytest.mark.parametrize("last", [FAILED, told(3, "cancelled"), told(3, "expired")])
def test_an_order_that_ends_otherwise_exits_1(engine, last):
    engine.sockets = [[PENDING, ROUTING, last]]
    assert order(engine) == 1


def test_a_failure_is_told_with_whether_a_replay_may_help(engine, capsys):
    engine.sockets = [[PENDING, ROUTING, FAILED]]
    order(engine)
    assert "no venue has quoted this pair (no_quote); a replay may help" in capsys.readouterr().out


def test_refused_input_names_the_field_and_what_is_accepted(engine):
    field = {"field": "amount", "value": "0", "message": "must be above 0", "accepted": "a decimal above 0"}
    engine.status = 400
    engine.answer = {"error": {"code": "invalid", "message": "amount must be above 0", "fields": [field]}}
    code, message = refused("order", "market", "SOL", "USDC", "0", "--url", engine.url)
    assert code == 2
    assert message == "invalid: amount must be above 0\n  amount='0'; accepted: a decimal above 0"


def test_without_an_engine_it_says_how_to_start_one():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        code, message = refused("order", "market", "SOL", "USDC", "1", "--url", url)
    assert code == 2
    assert url in message
    assert "`python3 manage.py up`" in message


@pytest.mark.parametrize("answer", ["<html>It works!</html>", "[]", '{"orderId": 1}'])
def test_a_server_that_is_no_engine_is_called_that(engine, answer):
    engine.status, engine.answer = 200, answer
    code, message = refused("order", "market", "SOL", "USDC", "1", "--url", engine.url)
    assert code == 2
    assert "is --url right?" in message


def test_an_address_that_is_none_is_refused():
    assert refused("order", "market", "SOL", "USDC", "1", "--url", "localhost:8000")[0] == 2


def test_an_order_the_engine_does_not_know_is_not_asked_for_again(engine):
    engine.sockets = [[{"error": {"code": "not_found", "message": "there is no such order"}}, 4404]]
    code, message = refused("order", "market", "SOL", "USDC", "1", "--url", engine.url)
    assert code == 2
    assert "there is no such order" in message
    assert len(engine.asked) == 1


def test_out_of_time_it_says_that_the_order_goes_on(engine):
    engine.sockets = [[PENDING, HOLD]]
    code, message = refused("order", "market", "SOL", "USDC", "1", "--url", engine.url, "--timeout", "0.5")
    assert code == 2
    assert f"order {ID} is not final after 0.5 s" in message
    assert "it continues" in message


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_says_that_the_order_goes_on_and_exits_130(engine, capsys):
    engine.sockets = [[PENDING, INTERRUPT]]
    assert order(engine, "--json") == 130
    assert f"Order {ID} continues without you" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["deadletters"], ["replay", "--all-safe", "--reason", "x"], ["sandbox", "venue", "RAYDIUM", "down"]]
)
def test_without_an_engine_nothing_is_asked_of_whatever_listens_on_the_usual_ports(tmp_path, words):
    done = manage(*words, DATABASE_URL="", REDIS_URL="", ENGINE_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"No engine runs on {tmp_path}")


def test_the_client_needs_neither_store(engine):
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = manage("order", "market", "SOL", "USDC", "1.5", "--url", engine.url, "--json", **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == LIFE


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_without_a_command_our_own_come_first_and_then_how_to_see_djangos(words):
    said = manage(*words).stdout
    places = [said.index(f"\n  {name} ") for name in ("up", "test", "order", "deadletters", "replay", "sandbox")]
    assert places == sorted(places)
    assert "help --commands" in said.splitlines()[-1]


def test_every_command_of_ours_is_in_the_help():
    ours = {name for name, app in get_commands().items() if app in ("orders", "routing", "workers")}
    listed = {line.split()[0] for line in manage().stdout.splitlines() if line.startswith("  ")}
    assert listed == ours | {"up", "test", "backup", "restore"}


def test_an_order_whose_reader_has_seen_enough_ends_without_a_word(engine):
    gone = threading.Event()
    engine.sockets = [[PENDING, gone, *LIFE[1:]]]
    words = ["order", "market", "SOL", "USDC", "1.5", "--url", engine.url]
    process = subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env={**os.environ, "ENGINE_NO_VENV": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == f"order {ID}\n"
    process.stdout.close()
    gone.set()
    assert process.stderr.read() == ""
    assert process.wait(20) == 128 + signal.SIGPIPE
    process.stderr.close()
