"""What Celery is told of the broker, and how long anybody waits for a RabbitMQ that does not answer."""

import socket

import pytest
from amqp.exceptions import RecoverableConnectionError
from celery.utils.quorum_queues import detect_quorum_queues
from kombu import Connection, Exchange, Queue

from config import broker
from config.beat import Schedule
from config.celery import app
from orders.flow.dispatch import BROKER_ERRORS

REDIS, RABBITMQ = "redis://cache.example/0", "amqp://u:p@queues.example//"


def test_without_a_broker_of_its_own_the_queues_are_plain_ones_in_redis():
    told = broker.configuration(REDIS, None)
    assert told["broker_url"] == REDIS and "broker_heartbeat" not in told
    assert broker.queue_arguments(None) is None


def test_with_rabbitmq_celery_knows_its_queues_for_quorum_queues_whose_prefetch_is_each_consumers_own(monkeypatch):
    queues = [Queue(name, Exchange("engine"), queue_arguments=broker.queue_arguments(RABBITMQ)) for name in ("order",)]
    monkeypatch.setattr(app.amqp, "queues", app.amqp.Queues(queues))
    assert app.conf.worker_detect_quorum_queues
    assert detect_quorum_queues(app, "amqp") == (True, "order")


def test_a_message_counts_as_sent_when_rabbitmq_has_confirmed_it():
    assert broker.configuration(REDIS, RABBITMQ)["broker_transport_options"]["confirm_publish"] is True


def test_the_certificate_of_a_rabbitmq_must_bear_the_name_in_its_address():
    assert broker.configuration(REDIS, "amqps://queues.example//")["broker_use_ssl"] == {"server_hostname": None}
    assert "broker_use_ssl" not in broker.configuration(REDIS, RABBITMQ)


def test_beat_takes_each_messages_connection_from_the_pool():
    assert Schedule.producer is None


def test_a_rabbitmq_that_is_away_is_tried_once_by_who_sends():
    options = broker.configuration(REDIS, RABBITMQ)["broker_transport_options"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"amqp://127.0.0.1:{nobody.getsockname()[1]}//"
        with pytest.raises(BROKER_ERRORS), Connection(address, transport_options=options) as connection:
            _ = connection.default_channel


def test_a_connection_without_an_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(broker, "ANSWER_WITHIN_S", 0.05)
    channel = broker.QuorumChannel.__new__(broker.QuorumChannel)
    channel._pending, channel.connection = {}, (deaf := Deaf())
    with pytest.raises(RecoverableConnectionError, match=r"no answer within 0\.05 s"):
        channel.wait((50, 11))
    assert deaf.given_up


class Deaf:
    """A connection on which nothing comes."""

    def __init__(self):
        self.given_up = False

    def drain_events(self, timeout):
        assert timeout == 0.05
        raise TimeoutError

    def collect(self):
        self.given_up = True


class Used:
    """A connection, the channel that was used on it, and whether it still is."""

    def __init__(self, *, channel_open):
        self.connected, self._default_channel = True, self
        self.is_open = channel_open

    def collect(self):
        self.connected = False


@pytest.mark.parametrize("channel_open", [True, False])
def test_a_connection_whose_channel_rabbitmq_has_closed_is_not_used_again(channel_open):
    used = Used(channel_open=channel_open)
    assert broker.QuorumTransport(client=used).verify_connection(used) is channel_open


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_who_consumes_comes_back_every_second_however_long_its_broker_is_away(url, monkeypatch):
    slept, waits = [], []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)

    class LongEnough(Exception):
        pass

    def missed(reason, interval):
        waits.append(interval)
        if len(waits) == 60:
            raise LongEnough

    with app.connection_for_read(url) as connection, pytest.raises(LongEnough):
        # As Celery's consumer calls it.
        connection.ensure_connection(missed, app.conf.broker_connection_max_retries, callback=lambda: None)
    assert waits == [1.0] * 60 and max(slept) == 1.0
