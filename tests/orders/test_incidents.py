"""Incident notes: who looks after what is not well, in the dashboard's strip, on record, until its time is over."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from orders.models import Act, IncidentNote
from orders.operations import figures, incidents
from orders.stores import acts
from tests.factories import OrderFactory
from tests.orders.pages import list_of, messages_of, text

ADD = "/admin/orders/incidentnote/add/"
LIST = "/admin/orders/incidentnote/"
NOTE = {"what": "quotes", "note": "METEORA has been told", "hours": "4"}


@pytest.fixture(autouse=True)
def fresh_figures(bench):
    figures.figures.forget()
    yield
    figures.figures.forget()


def strip(client):
    """Return the notes of the dashboard's poll."""
    figures.figures.forget()
    return client.get("/admin/figures/").json()["notes"]


def test_an_acknowledged_part_says_by_whom_until_when_and_what_is_known(operator):
    before = datetime.now(UTC)
    answer = operator.post(ADD, NOTE, follow=True)
    assert messages_of(answer)[0].startswith("quotes is acknowledged until ")
    (shown,) = strip(operator)
    assert (shown["subject"], shown["by"], shown["note"]) == ("quotes", "ops", "METEORA has been told")
    held = datetime.fromisoformat(shown["until"]) - before
    assert timedelta(hours=4) - timedelta(seconds=1) <= held <= timedelta(hours=4, minutes=1)
    (act,) = Act.objects.all()
    assert (act.who, act.what, act.subject) == ("ops", "add incident note", "quotes")
    assert act.outcome == "Acknowledged for 4 hours: METEORA has been told"


def test_a_second_note_on_the_same_part_replaces_the_first(operator):
    for note in ("looking", "found"):
        operator.post(ADD, NOTE | {"note": note})
    assert [one["note"] for one in strip(operator)] == ["found"]
    assert Act.objects.count() == 2


def test_a_note_whose_time_is_over_is_no_longer_shown_and_the_list_says_so(operator):
    incidents.acknowledge("QueueOld", "restarted", "ada", timedelta(hours=1))
    IncidentNote.objects.update(until=datetime.now(UTC) - timedelta(seconds=1))
    assert strip(operator) == []
    assert "QueueOld restarted ada" in list_of(operator, IncidentNote) and " over" in list_of(operator, IncidentNote)


def test_a_note_holds_by_the_clock_of_postgres(operator, bench, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    row = incidents.acknowledge("QueueOld", "restarted", "ada", timedelta(hours=1))
    held = row.until - bench.sql("SELECT now()")[0][0]
    assert timedelta(minutes=59) < held <= timedelta(hours=1)
    assert incidents.noted() != []
    bench.sql("UPDATE orders_incidentnote SET until = now() - interval '1 second'")
    assert incidents.noted() == []


def test_a_note_is_ended_by_hand_and_that_is_on_record(operator):
    row = incidents.acknowledge("QueueOld", "restarted", "ada", timedelta(hours=1))
    answer = operator.post(LIST, {"action": "end_selected", "_selected_action": [row.pk]}, follow=True)
    assert messages_of(answer) == ["The note on QueueOld is ended."]
    assert strip(operator) == []
    assert Act.objects.get().outcome == "Ended; ada had noted: restarted"


@pytest.mark.parametrize("name", ["workers", "QueueOld", "the id of an order"])
def test_a_note_is_on_a_part_an_alert_or_an_order(operator, name):
    subject = str(OrderFactory().pk) if name.startswith("the") else name
    operator.post(ADD, NOTE | {"what": subject})
    assert [one["subject"] for one in strip(operator)] == [subject]


def test_a_note_on_a_part_that_there_is_not_is_refused_with_those_there_are(operator):
    page = operator.post(ADD, NOTE | {"what": "quots"}).content.decode()
    assert "no part (postgres, redis, quotes, workers, trading)" in page
    assert strip(operator) == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"what": "two words"}, {"what": ""}, {"note": ""}, {"hours": "1000"}),
        {"what": "0193ab00-0000-7000-8000-000000000001"},
    ],
)
def test_a_note_on_nothing_or_for_ever_is_refused(operator, wrong):
    assert operator.post(ADD, NOTE | wrong).status_code == 200
    assert not IncidentNote.objects.exists() and not Act.objects.exists()


def test_the_strip_leads_to_the_form_with_the_part_filled_in(operator):
    link = operator.get("/admin/figures/").json()["links"]["acknowledge"]
    page = operator.get(link, {"what": "workers"})
    assert 'value="workers"' in page.content.decode()


def test_who_may_only_look_sees_the_notes_and_is_not_led_to_the_form(looker):
    incidents.acknowledge("workers", "restarted", "ada", timedelta(hours=1))
    assert [one["by"] for one in strip(looker)] == ["ada"]
    assert "acknowledge" not in looker.get("/admin/figures/").json()["links"]
    assert looker.post(ADD, NOTE).status_code == 403


def test_acts_are_found_by_who_what_and_the_orders_id(operator):
    order_id = "0193ab00-0000-7000-8000-000000000001"
    acts.record("ada", "10.0.0.1", "cancel order", order_id, "cancelled")
    acts.record("bob", "10.0.0.2", "pause", "SOL-USDC", "paused")
    for asked, found in (("ada", order_id), ("cancel", order_id), (order_id, order_id), ("bob", "SOL-USDC")):
        page = text(operator.get("/admin/orders/act/", {"q": asked}))
        assert found in page
    assert "SOL-USDC" not in text(operator.get("/admin/orders/act/", {"q": order_id}))
