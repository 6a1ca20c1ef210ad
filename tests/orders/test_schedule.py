"""The schedule as operators may change it: the pace of polling, what may be off, and what beat makes of it."""

import importlib
import json

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from config.beat import Schedule
from config.celery import app
from orders.flow import dispatch, recovery
from orders.models import Act
from orders.operations import schedule
from orders.operations.schedule import CannotSchedule
from routing import asking, polling
from routing.sandbox import stage
from routing.store import now_ms, redis
from workers import order, stream

FILLS = [
    importlib.import_module(f"workers.migrations.{name}")
    for name in ("0001_schedule", "0002_waiting_orders", "0003_retention")
]
TASKS = {name: terms for migration in FILLS for name, terms in migration.SCHEDULE.items()}


def fill():
    """Fill the schedule as the first start does."""
    for migration in FILLS:
        migration.fill(apps, None)


@pytest.fixture
def tasks(bench):
    """The schedule as the first start leaves it."""
    PeriodicTask.objects.all().delete()
    fill()


def task(name=dispatch.POLL):
    return PeriodicTask.objects.select_related("interval").get(name=name)


def change(name=dispatch.POLL, every_ms=None, enabled=None):
    row = task(name)
    return schedule.change(
        row.pk, every_ms, enabled=row.enabled if enabled is None else enabled, reason="a test", by="ops"
    )


def paces():
    return {row.name: schedule.interval_ms(row) for row in PeriodicTask.objects.select_related("interval")}


def test_every_task_of_the_engine_is_told_what_it_is_for(tasks):
    assert set(schedule.ROLES) == set(paces()) == set(TASKS)


def test_polling_at_another_pace_leaves_the_tasks_alone_that_shared_its_interval(tasks):
    before = paces()
    assert before[dispatch.POLL] == before[dispatch.CHECK] == before[dispatch.MATCH] == 500
    assert str(change(every_ms=250)) == "from every 500 ms to every 250 ms"
    assert paces() == {**before, dispatch.POLL: 250}
    assert IntervalSchedule.objects.filter(period="microseconds", every=250_000).count() == 1


@pytest.mark.parametrize(("every_ms", "expires"), [(100, 1), (1_000, 1), (1_001, 2), (2_000, 2)])
def test_a_message_expires_when_the_next_is_due_and_says_when_that_is(tasks, every_ms, expires):
    change(every_ms=every_ms)
    assert (task().expire_seconds, json.loads(task().kwargs)) == (expires, {"every_ms": every_ms})


@pytest.mark.parametrize(
    ("name", "every_ms", "enabled", "why"),
    [
        (dispatch.POLL, 99, True, "the polling interval is 100 to 10000 ms, not 99"),
        (dispatch.POLL, 10_001, True, "the polling interval is 100 to 10000 ms, not 10001"),
        (dispatch.POLL, 2_001, True, "QUOTE_FRESH_MS=2000 no quote stays fresh until the next: raise"),
        (dispatch.POLL, None, False, "stream.poll cannot be switched off"),
        (dispatch.POLL, 500, True, "nothing would change: stream.poll is on, every 500 ms"),
        (dispatch.DRAIN, 100, True, "dbsync.drain is sent every 1000 ms, and its interval cannot be changed"),
        *[
            (name, None, False, f"{name} cannot be switched off")
            for name in (dispatch.DRAIN, dispatch.RECOVER, dispatch.CHECK, dispatch.MATCH)
        ],
    ],
)
def test_what_the_engine_could_not_work_with_is_refused_and_said_why(tasks, name, every_ms, enabled, why):
    before = list(PeriodicTask.objects.order_by("pk").values())
    with pytest.raises(CannotSchedule) as refused:
        change(name, every_ms, enabled)
    assert why in str(refused.value)
    assert list(PeriodicTask.objects.order_by("pk").values()) == before


def test_a_pace_that_an_older_setting_left_too_slow_can_be_quickened(tasks, settings):
    settings.QUOTE_FRESH_MS = 200
    change(every_ms=400)
    assert paces()[dispatch.POLL] == 400


@pytest.mark.parametrize("name", sorted(schedule.MAY_REST))
def test_what_no_order_waits_for_may_be_off_for_a_while(tasks, name):
    assert str(change(name, enabled=False)) == "from on to off"
    assert not task(name).enabled
    assert str(change(name, enabled=True)) == "from off to on"


def test_the_next_start_leaves_what_operators_changed(tasks):
    change(every_ms=250)
    change(dispatch.AUDIT, enabled=False)
    fill()
    assert paces()[dispatch.POLL] == 250
    assert not task(dispatch.AUDIT).enabled
    assert PeriodicTask.objects.count() == len(TASKS)


# --- beat


@pytest.fixture
def beat(tasks):
    """Beat's schedule, as it is once beat has started."""
    made = Schedule(app=app)
    assert made.schedule[dispatch.POLL].schedule.run_every.total_seconds() == 0.5
    return made


def test_beat_follows_without_a_restart(beat, monkeypatch):
    monkeypatch.setattr("config.beat.CHANGES_EVERY_S", 0.0)
    change(every_ms=250)
    entry = beat.schedule[dispatch.POLL]
    assert entry.schedule.run_every.total_seconds() == 0.25
    assert (entry.options["headers"][dispatch.LIFE], entry.kwargs) == (1_000, {"every_ms": 250})
    change(dispatch.AUDIT, enabled=False)
    assert dispatch.AUDIT not in beat.schedule


def test_beat_does_not_ask_at_every_tick_whether_the_schedule_has_changed(beat, monkeypatch):
    asked = []
    monkeypatch.setattr(beat.Changes, "last_change", lambda: asked.append(1))
    monkeypatch.setattr("config.beat.CHANGES_EVERY_S", 3600.0)
    for _ in range(5):
        assert beat.schedule
    assert asked == []
    monkeypatch.setattr("config.beat.CHANGES_EVERY_S", 0.0)
    assert beat.schedule and asked


def test_beat_sleeps_until_the_next_task_is_due(beat, monkeypatch):
    monkeypatch.setattr(beat, "is_due", lambda entry: (False, 0.008))
    assert beat.tick() == 0.008


def test_a_message_of_beats_lives_by_the_stores_clock_whatever_the_worker_thinks_the_time_is(beat, bench, monkeypatch):
    beat.apply_async(beat.schedule[dispatch.RECOVER], advance=False)
    headers = json.loads(redis().lindex("order", 0))["headers"]
    assert headers["expires"] is None
    assert (headers[dispatch.LIFE], headers[dispatch.SENT_AT] <= now_ms()) == (5_000, True)
    done = []
    monkeypatch.setattr(recovery, "recover", lambda: done.append("recovered"))
    for waited_ms in (6_000, 1_000):
        # As Celery does it: what a message's headers say is the request's own.
        order.recover.push_request(**{**headers, dispatch.SENT_AT: now_ms() - waited_ms})
        order.recover()
        order.recover.pop_request()
    assert done == ["recovered"]


def test_beat_adds_nothing_to_a_queue_that_nobody_works_through(beat, bench, monkeypatch):
    monkeypatch.setattr(dispatch, "LONG", 3)
    for _ in range(5):
        beat.apply_async(beat.schedule[dispatch.MATCH], advance=False)
    assert bench.messages("sniper") == 3
    beat.apply_async(beat.schedule[dispatch.RECOVER], advance=False)
    assert bench.messages("order") == 1


def test_beat_does_not_undo_a_change_when_it_notes_what_it_sent(beat, monkeypatch):
    beat.reserve(beat.schedule[dispatch.POLL])
    # Its reading is from before the change, as when the change comes between its reading and its writing.
    change(every_ms=250)
    change(dispatch.AUDIT, enabled=False)
    monkeypatch.setattr(beat, "schedule_changed", lambda: False)
    beat.sync()
    assert paces()[dispatch.POLL] == 250
    assert (task().expire_seconds, task().total_run_count) == (1, 1)
    assert task().last_run_at is not None
    assert not task(dispatch.AUDIT).enabled


def test_the_stock_entry_writes_whole_rows_or_ours_can_go(beat, monkeypatch):
    from django_celery_beat.schedulers import ModelEntry

    entry = ModelEntry(task(), app=app)
    read = PeriodicTask._default_manager.get

    def get_then_somebody_changes(**kwargs):
        found = read(**kwargs)
        change(every_ms=250)
        return found

    monkeypatch.setattr(PeriodicTask._default_manager, "get", get_then_somebody_changes)
    entry.save()
    monkeypatch.undo()
    assert paces()[dispatch.POLL] == 500, "the operator's change is undone"


# --- the worker that polls


@pytest.fixture
def asker(tasks, monkeypatch):
    """The process's asker, which asks nobody."""
    made = asking.asker()
    monkeypatch.setattr(made, "poll", lambda pairs: None)
    monkeypatch.setattr(stage, "emit", lambda now: None)
    return made


def test_the_worker_polls_at_the_pace_its_message_names(asker):
    change(every_ms=2_000)
    stream.poll(**json.loads(task().kwargs))
    assert 1_000 >= redis().pttl(polling.TICK) > 500
    assert asker.in_flight_max == 5_000 // 2_000 + 2
    assert polling.pace() == 2_000
    redis().delete(polling.TICK)
    stream.poll()
    assert polling.pace() == 500


@pytest.mark.parametrize(
    ("every_ms", "ago_ms", "silent"), [(500, 2_100, True), (5_000, 9_000, False), (5_000, 10_100, True)]
)
def test_the_watchdog_waits_for_two_polls_of_a_slow_pace(asker, every_ms, ago_ms, silent):
    polling.poll(every_ms=every_ms)
    redis().decrby(polling.ASKED_AT, ago_ms)
    assert polling.silent() is silent


# --- the admin

LIST = "/admin/django_celery_beat/periodictask/"


def post(client, name=dispatch.POLL, **given):
    return client.post(f"{LIST}{task(name).pk}/change/", {"reason": "rate limits", **given}, follow=True)


def said():
    return [(one.who, one.outcome) for one in Act.objects.order_by("pk")]


def test_an_operator_changes_the_pace_of_polling_and_switches_an_audit_off_on_record(tasks, operator):
    answer = post(operator, every_ms="250")
    assert answer.redirect_chain == [(LIST, 302)]
    assert paces()[dispatch.POLL] == 250
    post(operator, dispatch.AUDIT)
    post(operator, dispatch.AUDIT, enabled="on", reason="done")
    assert task(dispatch.AUDIT).enabled
    assert said() == [
        ("ops", "Changed from every 500 ms to every 250 ms: rate limits"),
        ("ops", "Changed from on to off: rate limits"),
        ("ops", "Changed from off to on: done"),
    ]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"every_ms": "99"}, "the polling interval is 100 to 10000 ms, not 99"),
        ({"every_ms": "2001"}, "raise QUOTE_FRESH_MS first"),
        ({"every_ms": "0.5"}, "Enter a whole number."),
        ({"every_ms": ""}, "This field is required."),
        ({"every_ms": "250", "reason": ""}, "This field is required."),
        ({"every_ms": "500"}, "nothing would change"),
    ],
)
def test_a_wrong_pace_or_no_reason_is_refused_with_words(tasks, operator, given, why):
    answer = post(operator, **given)
    assert answer.status_code == 200
    assert why in answer.content.decode()
    assert paces()[dispatch.POLL] == 500 and not said()


def test_what_must_stay_on_offers_no_change_and_takes_none(tasks, operator):
    page = operator.get(f"{LIST}{task(dispatch.DRAIN).pk}/change/")
    assert page.status_code == 200
    assert 'name="enabled"' not in page.content.decode()
    assert post(operator, dispatch.DRAIN).status_code == 403
    assert operator.get(f"{LIST}add/").status_code == 403
    assert operator.post(f"{LIST}{task().pk}/delete/", {"post": "yes"}).status_code == 403
    post(operator, every_ms="250", enabled="", task="dbsync.drain", queue="order")
    assert (task().enabled, task().task, task().queue) == (True, dispatch.POLL, "stream")


def test_intervals_that_several_tasks_share_are_not_to_be_edited(tasks, operator):
    assert operator.get("/admin/django_celery_beat/intervalschedule/").status_code == 404


def test_the_list_takes_a_handful_of_queries(tasks, operator):
    with CaptureQueriesContext(connection) as asked:
        page = operator.get(LIST).content.decode()
    assert "every 500 ms" in page and "every 60000 ms" in page
    assert len(asked) <= 5


def test_who_may_only_look_changes_nothing(tasks, looker):
    assert looker.get(LIST).status_code == 200
    assert looker.get(f"{LIST}{task().pk}/change/").status_code == 200
    assert post(looker, every_ms="250").status_code == 403
    assert paces()[dispatch.POLL] == 500
