"""Queues, tasks, the settings that matter, the schedule, and our broker transport."""

import base64
import importlib
import json

import pytest
from celery import current_app
from django_celery_beat.models import PeriodicTask
from kombu.transport import redis as stock

from config import broker
from config.celery import app
from orders.flow import dispatch
from routing.asking import POLL_MS
from routing.store import redis

TASKS = [
    *(dispatch.EXECUTE, dispatch.RECOVER, dispatch.POLL, dispatch.DRAIN, dispatch.KEEP, dispatch.RETIRE),
    *(dispatch.FIRE, dispatch.CHECK, dispatch.AUDIT, dispatch.MATCH, dispatch.EVALUATE),
]


def import_tasks():
    app.loader.import_default_modules()
    return {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}


def test_our_application_is_the_one_tasks_are_sent_with():
    assert current_app._get_current_object() is app


def test_the_tasks_workers_declare_are_those_the_rooms_send():
    assert set(import_tasks()) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_prefix_is_its_queue_and_its_module(name):
    queue = name.partition(".")[0]
    assert queue in dispatch.QUEUES
    assert import_tasks()[name].__module__ == f"workers.{queue}"
    assert importlib.import_module(f"workers.{queue}")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_goes_to_its_own_queue_and_to_no_other(bench, name):
    assert dispatch.send(name, ["some-order"])
    queue = name.partition(".")[0]
    assert {q: bench.messages(q) for q in dispatch.QUEUES} == {q: int(q == queue) for q in dispatch.QUEUES}
    message = json.loads(redis().lindex(queue, 0))
    assert message["headers"]["task"] == name
    assert json.loads(base64.b64decode(message["body"]))[1] == {"order_ids": ["some-order"]}


def test_wake_ups_arrive_after_redis_was_emptied(bench):
    dispatch.send(dispatch.EXECUTE, ["a"])
    redis().flushall()
    dispatch.send(dispatch.EXECUTE, ["b"])
    assert bench.messages("order") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", True),
        ("task_acks_on_failure_or_timeout", True),
        ("task_reject_on_worker_lost", False),
        ("task_ignore_result", True),
        ("result_backend", None),
        ("accept_content", ["json"]),
        ("task_create_missing_queues", False),
        ("task_publish_retry", False),
        ("worker_prefetch_multiplier", 1),
        ("worker_enable_remote_control", True),
        ("broker_connection_max_retries", None),
        ("broker_connection_retry_on_startup", True),
        ("beat_max_loop_interval", 1),
    ],
)
def test_a_setting_that_decides_what_a_crash_costs_stands(name, value):
    assert app.conf[name] == value


def test_the_broker_gives_up_on_a_dead_connection_within_seconds_and_redelivers_within_two_minutes():
    options = app.conf.broker_transport_options
    assert options["visibility_timeout"] <= 120 and options["unacked_restore_interval"] <= 5
    assert options["socket_timeout"] <= 5 and options["socket_connect_timeout"] <= 2


@pytest.fixture
def schedule(transactional_db, django_db_blocker):
    """Fill the schedule as the migration does; other tests flush it."""
    migration = importlib.import_module("workers.migrations.0001_schedule")
    from django.apps import apps

    PeriodicTask.objects.all().delete()
    migration.fill(apps, None)
    migration.fill(apps, None)
    return {task.task: task for task in PeriodicTask.objects.all()}


def test_beat_wakes_each_periodic_task_once_at_its_pace(schedule):
    seconds = {name: task.interval.schedule.run_every.total_seconds() for name, task in schedule.items()}
    assert seconds == {dispatch.POLL: 0.5, dispatch.DRAIN: 1.0, dispatch.RECOVER: 5.0, dispatch.KEEP: 10.0}
    assert seconds[dispatch.POLL] * 1000 == POLL_MS
    assert {task.interval.period for task in schedule.values()} == {"microseconds"}


def test_what_beat_sends_goes_to_the_tasks_queue_and_expires(schedule):
    for name, task in schedule.items():
        assert task.queue == name.partition(".")[0]
        assert 0 < task.expire_seconds <= 60
        assert task.enabled


@pytest.fixture
def channel():
    with app.connection_for_write() as connection:
        connection.connect()
        yield connection.default_channel


def test_our_transport_serves_redis_addresses(channel):
    assert isinstance(channel, broker.Channel)


def test_commands_on_one_channel_share_one_client(channel):
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
    with channel.conn_or_acquire() as third:
        assert third is first


def test_blocking_reads_have_a_client_of_their_own(channel):
    with channel.conn_or_acquire() as shared:
        assert channel.client is not shared


def test_the_stock_transport_still_makes_a_client_for_every_command_or_ours_can_go(channel, monkeypatch):
    made = []

    def create(self, asynchronous=False, real=stock.Channel._create_client):
        made.append(asynchronous)
        return real(self, asynchronous)

    monkeypatch.setattr(stock.Channel, "_create_client", create)
    plain = stock.Channel(channel.connection)
    try:
        with plain.conn_or_acquire() as first, plain.conn_or_acquire() as second:
            assert first is not second
        assert made.count(False) == 2
    finally:
        plain.close()
