"""What a log line carries."""

import json
import subprocess
import sys

import structlog
from celery import Celery

from config.env import ROOT
from workers.base import EngineTask

SCRIPT = """
import threading, logging, structlog
from config import logs
logs.configure(level="INFO", form="json", role="order")
log = structlog.get_logger("engine")
def speak():
    with structlog.contextvars.bound_contextvars(task_id="t-1"):
        log.info("order routed", order_id="o-1")
    logging.getLogger("library").warning("a plain line")
    log.debug("not shown")
thread = threading.Thread(target=speak); thread.start(); thread.join()
try:
    password = "secret"
    1 / 0
except ZeroDivisionError:
    log.exception("it broke")
"""


def lines() -> list[dict]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_names_its_process_its_task_and_its_order_whichever_thread_writes_it():
    routed, plain, _ = lines()
    assert routed["event"] == "order routed"
    assert (routed["worker"], routed["task_id"], routed["order_id"]) == ("order", "t-1", "o-1")
    assert (plain["worker"], plain["event"]) == ("order", "a plain line")


def test_a_commands_own_info_lines_and_its_pools_warnings_stay_out_of_its_answer():
    script = """
import logging
from config import logs
logs.configure(level="INFO", form="json", role="shell")
logging.getLogger("orders.flow.dead_letters").info("dead letter replayed")
logging.getLogger("psycopg.pool").warning("error connecting")
logging.getLogger("orders.flow.dead_letters").warning("worth reading")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["worth reading"]


def test_a_traceback_does_not_show_local_variables():
    broke = lines()[-1]
    assert broke["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "secret" not in json.dumps(broke)


def test_a_task_binds_its_id_to_its_lines():
    seen = []
    app = Celery("probe", set_as_current=False)

    @app.task(base=EngineTask, shared=False, bind=True, name="order.probe")
    def probe(self):
        seen.append((self.request.id, structlog.contextvars.get_contextvars()))

    probe.apply(task_id="t-9")
    assert seen == [("t-9", {"task_id": "t-9", "task": "order.probe"})]
    assert "task_id" not in structlog.contextvars.get_contextvars()


def test_a_task_on_one_order_binds_that_orders_id_and_says_which_orders_it_takes_up():
    app = Celery("probe", set_as_current=False)

    @app.task(base=EngineTask, shared=False, bind=True, name="order.look")
    def look(self, order_ids):
        structlog.get_logger("probe").info("looking")

    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as said:
        look.apply(kwargs={"order_ids": ["o-1"]}, task_id="t-1")
        look.apply(kwargs={"order_ids": ["o-2", "o-3"]}, task_id="t-2")
    assert [(line["event"], line["task_id"], line.get("order_id"), line.get("order_ids")) for line in said] == [
        ("orders picked up", "t-1", "o-1", None),
        ("looking", "t-1", "o-1", None),
        ("orders picked up", "t-2", None, ["o-2", "o-3"]),
        ("looking", "t-2", None, None),
    ]


def test_with_traces_on_an_orders_line_names_its_trace():
    script = """
import structlog
from config import logs
for traced in (True, False):
    logs.configure(level="INFO", form="json", role="order", traced=traced)
    log = structlog.get_logger(str(traced))
    log.info("order routed", order_id="01a20361-7973-714d-827d-fcc9ccffe726")
    log.info("orders saved", order_ids=["a", "b"])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    traces = [json.loads(line).get("trace_id") for line in done.stdout.splitlines()]
    assert traces == ["01a203617973714d827dfcc9ccffe726", None, None, None]
