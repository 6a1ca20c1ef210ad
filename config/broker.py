"""The broker: Redis by default, RabbitMQ with BROKER_URL, and Celery's settings and workarounds for each.

Redis: kombu makes a new `Redis` object for every publish, acknowledgement and event. With redis-py 8 each builds a
table of some two hundred response callbacks, which costs more than the command. One client on a pool can serve any
number of threads.

Both: Celery's consumer waits two seconds longer after each failed reconnect, up to half a minute.

RabbitMQ: py-amqp waits for an answer without a timeout, and kombu keeps using a channel that the server has closed.
"""

import ssl
from functools import cached_property
from typing import Any

import kombu
from amqp.exceptions import RecoverableConnectionError
from celery.app.amqp import AMQP
from kombu.transport import TRANSPORT_ALIASES, pyamqp
from kombu.transport import redis as stock
from kombu.utils.url import parse_url

ANSWER_WITHIN_S = 3.0
"""How long RabbitMQ may take to confirm a message or to answer anything else."""
AGAIN_S = 1.0
EVERY = {"interval_start": AGAIN_S, "interval_step": 0.0, "interval_max": AGAIN_S}
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 20}
"""Replicated and on disk. A message that keeps killing its worker is dropped; the sweep still finds its orders."""


class Channel(stock.Channel):
    """Keeps one client for all non-blocking commands."""

    @cached_property
    def shared_client(self) -> Any:
        """Make the client on first use."""
        return super()._create_client()  # type: ignore[misc]

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        return self.shared_client


class Transport(stock.Transport):
    """The stock transport with that channel."""

    Channel = Channel


class Connection(kombu.Connection):
    """Reconnects soon after the broker is back, however long it was down."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Retry every AGAIN_S, unless the caller sets the interval."""
        return super().ensure_connection(*args, **{**EVERY, **kwargs})


class Messaging(AMQP):
    """Celery's messaging with that connection."""

    Connection = Connection


class Impatient:
    """Gives up on a server that does not answer, and on the connection with it."""

    connection: Any

    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False) -> Any:
        """Wait for an answer; raises RecoverableConnectionError when none comes in time."""
        connection = self.connection
        try:
            return super().wait(method, callback, timeout or ANSWER_WITHIN_S, returns_tuple)  # type: ignore[misc]
        except TimeoutError:
            # A late answer would be taken for the answer to the next request.
            connection.collect()
            raise RecoverableConnectionError(f"no answer within {timeout or ANSWER_WITHIN_S:g} s") from None


class QuorumChannel(Impatient, pyamqp.Channel):
    """A channel of RabbitMQ."""


class QuorumConnection(Impatient, pyamqp.Connection):
    """A connection to RabbitMQ."""

    Channel = QuorumChannel


class QuorumTransport(pyamqp.Transport):
    """The stock transport with that connection."""

    Connection = QuorumConnection

    def verify_connection(self, connection: Any) -> bool:
        """Tell whether a connection can be used; one whose channel RabbitMQ has closed is dropped."""
        client: Any = self.client
        channel = client._default_channel
        if connection.connected and channel is not None and not channel.is_open:
            connection.collect()
        return bool(connection.connected)


def install() -> None:
    """Make every redis:// and amqp:// address use these transports."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "config.broker:Transport"
    TRANSPORT_ALIASES["amqp"] = TRANSPORT_ALIASES["amqps"] = "config.broker:QuorumTransport"


REDIS: dict[str, Any] = {
    "broker_transport_options": {
        "visibility_timeout": 120,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "priority_steps": [0],
        "queue_order_strategy": "round_robin",
    },
}
RABBITMQ: dict[str, Any] = {
    "broker_transport_options": {
        "confirm_publish": True,
        # A sender does not wait for a server that is down; a worker's consumer keeps reconnecting.
        "max_retries": 0,
        "write_timeout": 5,
    },
    "broker_connection_timeout": 2,
    # Only workers send and expect heartbeats; a sender's idle connection in the pool could do neither.
    "broker_heartbeat": 10,
    # A queue that dies with its connection may still exist when the worker reconnects, which would be refused access.
    "control_queue_durable": True,
    "event_queue_durable": True,
}


def configuration(redis_url: str, broker_url: str | None) -> dict[str, Any]:
    """Return Celery's settings for the broker."""
    if broker_url is None:
        return {"broker_url": redis_url, **REDIS, **redis_tls(redis_url)}
    # The name in the certificate is checked against the host name in the address.
    tls = {"broker_use_ssl": {"server_hostname": None}} if broker_url.startswith("amqps:") else {}
    return {"broker_url": broker_url, **RABBITMQ, **tls}


def redis_tls(redis_url: str) -> dict[str, Any]:
    """Return the setting by which a `rediss://` server's certificate is checked, which kombu by itself does not do."""
    if not redis_url.startswith("rediss:"):
        return {}
    return {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, **parse_url(redis_url).get("ssl", {})}}


def queue_arguments(broker_url: str | None) -> dict[str, Any] | None:
    """Return what a queue is declared with."""
    return None if broker_url is None else QUORUM
