"""Asking the launcher for the restart of a role, by command and in the admin; what is said where there is none."""

import json
import os

import pytest

from orders.models import Act
from orders.operations import restarts
from tests.orders.commands.standin import refused, run
from tests.orders.pages import messages_of, text

PAGE = "/admin/restart/"
WHY = ("--reason", "it hangs", "--operator", "night shift")


@pytest.fixture
def launched(bench, settings, tmp_path):
    """A launcher that runs, by its own account, and does what it is asked only when the test says so."""
    settings.DATA_DIR = tmp_path
    (tmp_path / "restarts").mkdir()

    def tell(**processes):
        told = {"pid": os.getpid(), "processes": {"postgres": 2, "valkey": 3, **processes}}
        (tmp_path / "run.json").write_text(json.dumps(told))

    tell(**{"order-1": 11, "order-2": 12, "api": 13})
    return tell


def done_at_once(monkeypatch, act):
    """Have the launcher do what is asked before anybody looks."""
    asked = restarts.ask

    def ask(role):
        asked(role)
        act()
        restarts.request(role).unlink()

    monkeypatch.setattr(restarts, "ask", ask)


def test_roles_are_named_without_numbers_and_stores_are_none(launched):
    assert restarts.processes() == {"order": [11, 12], "api": [13]}


@pytest.mark.parametrize("role", ["postgres", "../api", "order-1", ""])
def test_only_a_role_that_runs_here_can_be_asked_for(launched, tmp_path, role):
    with pytest.raises(restarts.CannotRestart, match="there are api, order"):
        restarts.ask(role)
    assert not list((tmp_path / "restarts").iterdir())


def test_a_request_is_a_file_that_only_this_account_can_write(launched, tmp_path):
    restarts.ask("order")
    assert restarts.is_asked("order") and not restarts.is_asked("api")
    assert (tmp_path / "restarts" / "order").stat().st_mode & 0o077 == 0
    with pytest.raises(restarts.CannotRestart, match="order is being restarted already"):
        restarts.ask("order")


def test_the_command_waits_until_every_process_is_another_one(launched, monkeypatch, capsys):
    done_at_once(monkeypatch, lambda: launched(**{"order-1": 21, "order-2": 22, "api": 13}))
    assert run("restart", "order", *WHY) == 0
    assert capsys.readouterr().out == "order: restarted, 2 processes\n"
    (act,) = Act.objects.all()
    assert (act.who, act.what, act.subject, act.reason) == ("night shift", "restart role", "order", "it hangs")
    assert act.outcome == "restarted, 2 processes"


def test_the_command_says_what_was_not_restarted(launched, monkeypatch):
    done_at_once(monkeypatch, lambda: launched(**{"order-1": 21, "order-2": 12, "api": 13}))
    code, said = refused("restart", "order", *WHY)
    assert (code, said) == (1, "order: 1 of 2 processes were not restarted; see launcher.log and order.log")
    assert Act.objects.get().outcome == "1 of 2 processes were not restarted"


def test_without_a_launcher_the_command_names_those_of_containers(bench, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    code, said = refused("restart", "order", *WHY)
    assert code == 2
    assert "docker compose -f deploy/compose.yml restart ROLE" in said and "kubectl" in said
    assert not Act.objects.exists()


def test_the_page_asks_the_launcher_with_a_reason_and_is_on_record(launched, operator):
    assert "order (2)" in text(operator.get(PAGE))
    assert messages_of(operator.post(PAGE, {"role": "order"}, follow=True)) == [
        "Nothing is restarted: give a reason for the audit log."
    ]
    answer = operator.post(PAGE, {"role": "order", "reason": "it hangs"}, follow=True)
    assert messages_of(answer) == ["order is being restarted; reload this page to see when that is over."]
    assert "order is restarting." in text(answer)
    assert restarts.is_asked("order")
    (act,) = Act.objects.all()
    assert (act.who, act.what, act.subject, act.reason) == ("ops", "restart role", "order", "it hangs")


def test_without_a_launcher_the_page_names_what_restarts_containers(bench, operator, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    assert "kubectl -n order-engine rollout restart deployment/ROLE" in text(operator.get(PAGE))
    asked = operator.post(PAGE, {"role": "order", "reason": "it hangs"}, follow=True)
    assert messages_of(asked)[0].startswith("Nothing is restarted: `manage.py up` does not run on")


def test_the_launcher_reads_requests_where_they_are_made(settings):
    launcher = (settings.BASE_DIR / "deploy" / "launcher.py").read_text()
    assert f'"{restarts.request("order").parent.name}"' in launcher
