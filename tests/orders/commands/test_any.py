"""What every command does without an engine, or when it is interrupted."""

import json
import re
import socket
from importlib import import_module

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from manage import ASK_THE_STORES
from orders.management.asking import StoresCommand
from tests.orders.commands.standin import DROP, ID, INTERRUPT, always, manage, page, refused, run

ASKING = [
    ["order", "limit", "SOL", "USDC", "2", "--price", "1"],
    ["order", "sniper", "SOL", "WIF", "2", "--launch"],
    ["orders"],
    ["watch", ID],
    ["cancel", ID],
    ["cancel", "--pair", "SOL-USDC"],
    ["amend", ID, "--price", "1"],
    ["amend", ID, "--price", "1", "--seq", "1"],
]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_without_an_engine_each_says_how_to_start_one(words):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        code, message = refused(*words, "--url", url)
    assert code == 2
    assert url in message
    assert "`python3 manage.py up`" in message


@pytest.mark.parametrize("answer", ["<html>It works!</html>", "[]", '{"orderId": 1}', '{"error": "no"}'])
@pytest.mark.parametrize("words", ASKING[2:], ids=" ".join)
def test_a_server_that_is_no_engine_is_called_that(engine, words, answer):
    engine.answers = always(200, answer)
    code, message = refused(*words, "--url", engine.url)
    assert code == 2
    assert "is --url right?" in message


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        (["orders"], "ask again"),
        (["watch", ID], "ask again"),
        (["cancel", ID], "may have been cancelled; repeating is safe"),
        (["cancel", "--pair", "SOL-USDC"], "may have been cancelled; repeating is safe"),
        (["amend", ID, "--price", "1", "--seq", "1"], "may have been amended"),
    ],
    ids=str,
)
def test_a_lost_answer_says_what_may_have_happened(engine, words, doubt):
    engine.answers = always(200, DROP)
    code, message = refused(*words, "--url", engine.url)
    assert code == 2
    assert "was lost" in message
    assert doubt in message


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("words", [["orders"], ["watch", ID], ["cancel", ID], ["amend", ID, "--price", "1"]], ids=str)
def test_ctrl_c_before_the_answer_exits_130_and_says_what_may_have_happened(engine, words):
    engine.answers = always(200, INTERRUPT)
    code, message = refused(*words, "--url", engine.url)
    assert code == 130
    assert "interrupted before" in message


@pytest.mark.parametrize("words", [["watch", "1"], ["cancel", "1"], ["amend", "1", "--price", "1"]], ids=str)
def test_what_is_no_order_id_exits_2_without_asking(words):
    with pytest.raises(CommandError, match="invalid UUID"):
        call_command(*words)


@pytest.mark.parametrize("name", ["order", "orders", "watch", "cancel", "amend"])
def test_the_help_of_each_names_its_exit_codes(name, capsys):
    assert run(name, "--help") == 0
    assert "Exit codes: 0" in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_new_commands_need_neither_store(engine):
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    engine.answers["GET"] = page(engine.order())
    done = manage("orders", "--url", engine.url, "--json", **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == engine.order()


def test_the_help_of_every_command_prints_without_an_engine_and_with_a_wrong_setting():
    wrong = {"DATABASE_URL": "", "REDIS_URL": "", "ENGINE_PORT": "eighty"}
    for words in (["cancelall", "--help"], ["apikeys", "create", "-h"], ["help", "order"]):
        done = manage(*words, **wrong)
        assert (done.returncode, done.stdout[:16]) == (0, "usage: manage.py"), done.stderr
        assert "setting error: ENGINE_PORT='eighty'" in done.stderr and "Traceback" not in done.stderr
    # What is to be done, and not explained, is refused.
    assert manage("orders", **wrong).returncode == 2


def test_every_command_that_asks_the_stores_says_why_they_do_not_answer():
    """But `sandbox`, whose venues need Redis alone, and which says it in the same words."""
    for name in set(ASK_THE_STORES) - {"sandbox"}:
        assert issubclass(import_module(f"orders.management.commands.{name}").Command, StoresCommand), name


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["cancelall", "--owner", "ada", "--reason", "x", "--yes"], "auth_user"),
        (["apikeys", "list"], "orders_apikey"),
        (["pause", "user:ada", "--reason", "x"], "auth_user"),
        (["audit", "list"], "orders_act"),
        (["deadletters"], "orders_deadletter"),
        (["secondfactor", "ada"], "auth_user"),
    ],
    ids=" ".join,
)
def test_a_database_that_is_not_migrated_is_called_that(words, table):
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{table}" RENAME TO elsewhere')
    code, message = refused(*words)
    assert code == 2
    assert "run `manage.py migrate` first" in message and table in message
