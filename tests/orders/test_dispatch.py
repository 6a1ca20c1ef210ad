"""The queues as they are looked at from outside: how long each one's oldest message has waited."""

import base64
import json

import pytest
from celery import current_app

from orders.flow import dispatch
from orders.operations.figures import queues
from routing.store import now_ms, redis
from tests.orders.test_scrape import stores


def put(queue, ago_ms=None, text=None):
    """Put a message where a sender puts it: the worker takes from the other end."""
    headers = {} if ago_ms is None else {dispatch.SENT_AT: now_ms() - ago_ms}
    redis().lpush(queue, text if text is not None else json.dumps({"body": "e30=", "headers": headers}))


def test_a_queue_is_as_old_as_its_oldest_message_and_an_empty_one_has_no_age(bench):
    put("order", ago_ms=9_000)
    put("order", ago_ms=100)
    put("dlq", ago_ms=60_000)
    ages = dispatch.ages_ms()
    assert set(ages) == set(dispatch.QUEUES)
    assert 9_000 <= ages.pop("order") < 30_000 and 60_000 <= ages.pop("dlq") < 90_000
    assert set(ages.values()) == {0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "7",
        "null",
        "{}",
        '{"headers": null}',
        '{"headers": {"engine_sent_at": "noon"}}',
        '{"headers": {"engine_sent_at": null}}',
        '{"headers": {"engine_sent_at": 1e999}}',
        "[" * 100_000,
    ],
)
def test_a_message_that_does_not_say_when_it_was_sent_has_no_known_age_and_hides_no_other_queues(bench, text):
    put("order", text=text)
    put("limit", ago_ms=5_000)
    ages = dispatch.ages_ms()
    assert ages["order"] is None and ages["limit"] >= 5_000
    shown = {row["queue"]: row for row in queues()}
    assert (shown["order"]["length"], shown["order"]["age_ms"]) == (1, None)
    assert ("engine_queue_age_seconds", "order") not in stores() and stores()["engine_queue_depth", "order"] == 1


def test_a_clock_that_was_set_back_makes_no_message_younger_than_new(bench):
    put("order", ago_ms=-5_000)
    assert dispatch.ages_ms()["order"] == 0


@pytest.mark.parametrize("queue", dispatch.QUEUES)
def test_every_message_says_when_it_was_sent_whoever_sends_it(bench, queue):
    before = now_ms()
    dispatch.wake(f"{queue}.probe", ["an-order"], [])
    # As beat sends what the schedule holds.
    current_app.send_task(f"{queue}.tick", queue=queue)
    messages = [json.loads(text) for text in redis().lrange(queue, 0, -1)]
    assert [message["headers"]["task"] for message in messages] == [f"{queue}.tick", f"{queue}.probe"]
    assert all(before <= message["headers"][dispatch.SENT_AT] <= now_ms() for message in messages)
    assert json.loads(base64.b64decode(messages[1]["body"]))[1] == {"order_ids": ["an-order"]}
    assert 0 <= dispatch.ages_ms()[queue] < 30_000


def test_the_metrics_and_the_dashboard_tell_each_queues_age(bench):
    put("sniper", ago_ms=12_000)
    told = {key[1]: value for key, value in stores().items() if key[0] == "engine_queue_age_seconds"}
    assert set(told) == set(dispatch.QUEUES) and 12 <= told["sniper"] < 40
    assert {row["queue"]: row["age_ms"] for row in queues()}["sniper"] >= 12_000
