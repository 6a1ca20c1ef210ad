"""Where each process tells its counts: an address that is its own, whoever else is on this machine."""

import json
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy import metrics
from deploy.servers import free_port


@pytest.fixture
def listeners():
    """Listeners for two processes, side by side."""
    found = metrics.listen(free_port(), ["order-1", "order-2"])
    yield found
    for listener in found.values():
        listener.close()


@pytest.fixture
def serve(listeners, monkeypatch):
    """Serve on one of them, and stop that before it is closed.

    A thread that polls a number would keep open whatever gets that number next, such as the end of a pipe.
    """
    monkeypatch.setattr(metrics, "LOOKS_UP_S", 0.02)
    servers = []
    yield lambda name, *questions: servers.append(metrics.serve(listeners[name], *questions))
    for server in servers:
        server.shutdown()


def port(listener):
    return listener.getsockname()[1]


def asked(listener):
    """Ask as Prometheus does."""
    with closing(HTTPConnection("127.0.0.1", port(listener), timeout=5)) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_process_that_serves_answers_with_what_it_has_counted(listeners, serve):
    serve("order-1")
    status, text = asked(listeners["order-1"])
    assert status == 200
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {"engine_orders", "engine_order_stage_seconds", "process_cpu_seconds"} <= families


def test_one_that_has_not_begun_to_serve_keeps_who_asks_waiting_instead_of_refusing(listeners, serve):
    with socket.create_connection(("127.0.0.1", port(listeners["order-2"])), timeout=5) as waiting:
        waiting.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        serve("order-2")
        assert waiting.recv(15) == b"HTTP/1.0 200 OK"


def test_a_client_that_says_nothing_or_breaks_off_does_not_keep_the_next_from_its_answer(
    listeners, serve, monkeypatch, capfd
):
    monkeypatch.setattr(metrics, "READ_WITHIN_S", 0.05)
    serve("order-1")
    with socket.create_connection(("127.0.0.1", port(listeners["order-1"]))):
        socket.create_connection(("127.0.0.1", port(listeners["order-1"]))).close()
        began = time.monotonic()
        assert asked(listeners["order-1"])[0] == 200
    assert time.monotonic() - began < 4
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("many", [1, 3 * metrics.AT_ONCE])
def test_clients_that_drip_their_requests_do_not_keep_another_waiting(listeners, serve, many):
    serve("order-1", {"/healthz": lambda: ""})
    before = threading.active_count()
    with ExitStack() as stack:
        dripping = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port(listeners["order-1"])), timeout=5))
            for _ in range(many)
        ]
        # None of them is ever silent for long enough to be cut off for it.
        stack.enter_context(each_drips(dripping))
        for _ in range(5):
            began = time.monotonic()
            assert asked(listeners["order-1"])[0] == 200
            assert time.monotonic() - began < 1
        # The one that drips here is a thread, too.
        assert threading.active_count() - before <= metrics.AT_ONCE + 1


@contextmanager
def each_drips(clients):
    """Have each client send a byte of an endless header, ten times a second."""
    over = threading.Event()

    def drip():
        while not over.wait(0.1):
            for client in clients:
                with suppress(OSError):
                    client.sendall(b"G")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_processes_get_the_ports_after_the_first_and_another_where_one_is_taken():
    base = next(p for p in iter(free_port, None) if are_free(p, 3))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 1))
        taken.listen()
        found = metrics.listen(base, ["api", "order", "limit"])
    assert [port(found["api"]), port(found["limit"])] == [base, base + 2]
    assert port(found["order"]) not in (base, base + 1, base + 2)
    assert {listener.getsockname()[0] for listener in found.values()} == {"127.0.0.1"}
    for listener in found.values():
        listener.close()


def are_free(first, count):
    """Tell whether nobody listens on so many ports from this one on."""
    try:
        for one in range(first, first + count):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", one))
    except OSError:
        return False
    return True


def test_a_listener_on_all_addresses_is_told_under_one_that_can_be_asked(tmp_path):
    listeners = metrics.listen(free_port(), ["order"], "0.0.0.0")
    assert listeners["order"].getsockname()[0] == "0.0.0.0"
    metrics.tell(tmp_path / "metrics.json", "127.0.0.1:8000", listeners)
    assert json.loads((tmp_path / "metrics.json").read_text())[-1]["targets"] == [
        f"127.0.0.1:{port(listeners['order'])}"
    ]
    listeners["order"].close()


def test_questions_are_answered_beside_the_counts(listeners, serve):
    wrong = [""]
    serve("order-1", {"/healthz": lambda: wrong[0]})
    with closing(HTTPConnection("127.0.0.1", port(listeners["order-1"]), timeout=5)) as connection:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok\n")
    wrong[0] = "the loop stands still"
    with closing(HTTPConnection("127.0.0.1", port(listeners["order-1"]), timeout=5)) as connection:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (503, b"the loop stands still\n")
    assert asked(listeners["order-1"])[0] == 200


def test_without_a_port_nobody_listens():
    assert metrics.listen(0, ["api", "order"]) == {}


def test_prometheus_is_told_every_address_with_the_name_of_its_process(listeners, tmp_path):
    metrics.tell(tmp_path / "metrics.json", "127.0.0.1:8000", listeners)
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert told == [
        {"targets": ["127.0.0.1:8000"], "labels": {"process": "stores", "__param_part": "stores"}},
        {"targets": ["127.0.0.1:8000"], "labels": {"process": "api", "__param_part": "process"}},
        {"targets": [f"127.0.0.1:{port(listeners['order-1'])}"], "labels": {"process": "order-1"}},
        {"targets": [f"127.0.0.1:{port(listeners['order-2'])}"], "labels": {"process": "order-2"}},
    ]


def test_a_server_with_a_listener_of_its_own_is_asked_there(tmp_path):
    listeners = metrics.listen(free_port(), ["api"])
    metrics.tell(tmp_path / "metrics.json", "127.0.0.1:8000", listeners)
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert [one["targets"] for one in told] == [["127.0.0.1:8000"], [f"127.0.0.1:{port(listeners['api'])}"]]
    listeners["api"].close()


def test_without_an_api_nobody_is_asked_for_the_stores(listeners, tmp_path):
    metrics.tell(tmp_path / "metrics.json", "", listeners)
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert [one["labels"]["process"] for one in told] == ["order-1", "order-2"]
