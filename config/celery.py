"""The Celery application: six workers, one queue each, tuned for a broker that may lose and repeat messages.

A message is only a wake-up. It is acknowledged after its task has run, even if that failed, and it is not published
again after an error: the sweep and beat do what a lost message asked for. More on Celery is in orders/README.md under
"Decisions".
"""

import os
from typing import Any

from celery import Celery, signals
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings
from django.db import close_old_connections

from config import broker
from orders.flow.dispatch import QUEUES, SENT_AT
from routing.store import now_ms

EXCHANGE = Exchange("engine", type="direct")
ARGUMENTS = broker.queue_arguments(settings.BROKER_URL)

broker.install()
app = Celery("engine", amqp="config.broker:Messaging")
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_acquire_timeout=1.0,
    task_queues=[Queue(name, EXCHANGE, routing_key=name, queue_arguments=ARGUMENTS) for name in QUEUES],
    task_default_queue="order",
    task_default_exchange="engine",
    task_default_routing_key="order",
    task_create_missing_queues=False,
    task_acks_late=True,
    task_acks_on_failure_or_timeout=True,
    task_reject_on_worker_lost=False,
    task_ignore_result=True,
    result_backend=None,
    task_serializer="json",
    accept_content=["json"],
    task_publish_retry=False,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=True,
    worker_soft_shutdown_timeout=3.0,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    beat_max_loop_interval=1,
    timezone="UTC",
    **broker.configuration(settings.REDIS_URL, settings.BROKER_URL),
)
app.autodiscover_tasks([f"workers.{name}" for name in QUEUES], related_name=None)  # type: ignore[arg-type]


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Stop Celery from replacing the logging set up in config/logs.py."""


@signals.before_task_publish.connect
def stamp(headers: dict[str, Any], **_: Any) -> None:
    """Stamp every message, beat's included, with its send time: a queue's age is that of its oldest message."""
    headers[SENT_AT] = now_ms()


@signals.task_prerun.connect
@signals.task_postrun.connect
def tidy_connections(**_: Any) -> None:
    """Drop a connection that Postgres closed while this thread was idle."""
    close_old_connections()
