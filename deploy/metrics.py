"""Each process's own /metrics: a listener, held by the launcher so that its address outlives a restart.

In a container the same listener answers how the process is (deploy/liveness.py).
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deploy.servers import free_port

HOST = "127.0.0.1"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Under which address this machine reaches what listens on all of them."""
READ_WITHIN_S = 2.0
"""How long a client may be silent in the middle of its request."""
AT_ONCE = 8
"""Clients served at once, each on a thread; one more takes the place of the one that has been there longest."""
LOOKS_UP_S = 60.0
"""How often a server that nobody asks sees whether it is to stop."""
BACKLOG = 8
NOTHING: Mapping[str, Callable[[], str]] = {}


def listen(base: int, names: Iterable[str], host: str = HOST) -> dict[str, socket.socket]:
    """Listen for each of these processes, on `base` and the ports after it; on any other where one is taken.

    Nobody's orders depend on it, so a taken port must not stop the start: `metrics.json` names those that were found.
    """
    return {name: bound(base + index, host) for index, name in enumerate(names)} if base else {}


def bound(port: int, host: str = HOST) -> socket.socket:
    """Listen on that port, or on a free one."""
    while True:
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
            found.listen(BACKLOG)
        except (OSError, OverflowError):
            found.close()
            port = free_port()
        else:
            return found


def serve(listener: socket.socket, questions: Mapping[str, Callable[[], str]] = NOTHING) -> "Server":
    """Answer on this socket, on a thread of its own, with what this process has counted.  Call it after the fork.

    `questions` maps paths to what tells what is wrong: 200 when nothing is, else 503 with the reason.  Shut the server
    down before the socket is closed.
    """
    from prometheus_client.exposition import MetricsHandler

    from orders.telemetry.metrics import PROCESS

    class Handler(MetricsHandler):
        """Shows this process's counts to whoever asks."""

        registry = PROCESS
        timeout = READ_WITHIN_S

        def do_GET(self) -> None:  # noqa: N802 (http.server's name)
            """Answer a question that was asked for, and anything else with the counts."""
            if self.path in questions:
                self.answer(questions[self.path]())
            else:
                super().do_GET()

        def answer(self, wrong: str) -> None:
            """Say that all is well, or what is wrong."""
            text = (wrong or "ok").encode() + b"\n"
            self.send_response(503 if wrong else 200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = Server(listener, Handler)
    threading.Thread(target=server.serve_forever, args=(LOOKS_UP_S,), name="metrics", daemon=True).start()
    return server


class Server(ThreadingHTTPServer):
    """Serves on a socket that listens already; a client that breaks off is nobody's business.

    An answer takes milliseconds. So who has been there longest while AT_ONCE others came is the one that drips its
    request or does not read its answer, and whoever comes next need not wait for it.
    """

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        super().__init__(listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.served: dict[Any, None] = {}
        self.places = threading.Semaphore(AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one more client, on a thread of its own."""
        if not self.places.acquire(blocking=False):
            for longest in list(self.served)[:1]:
                with suppress(OSError):
                    longest.shutdown(socket.SHUT_RDWR)
            # Its thread notices at once and ends.
            self.places.acquire()
        self.served[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a client, then give its place away."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.served.pop(request, None)
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


def tell(path: Path, api: str, listeners: Mapping[str, socket.socket]) -> None:
    """Write where to scrape, as Prometheus reads it (file_sd): the stores at the API, each process at its own.

    An API without a listener tells its own counts at its address too; with several of those, whichever answers.
    Without an API (`api` is empty) nobody tells of the stores.
    """
    found = [target(api, "stores", __param_part="stores")] if api else []
    if api and not any(name.startswith("api") for name in listeners):
        found.append(target(api, "api", __param_part="process"))
    for name, listener in listeners.items():
        host, port = listener.getsockname()
        found.append(target(f"{ANY_ADDRESS.get(host, host)}:{port}", name))
    making = path.with_suffix(".new")
    making.write_text(json.dumps(found, indent=1))
    making.replace(path)


def target(address: str, process: str, **labels: str) -> dict[str, Any]:
    """Describe one address."""
    return {"targets": [address], "labels": {"process": process, **labels}}
