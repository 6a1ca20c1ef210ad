"""A stand-in for the API, and commands run against it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from websockets.sync.server import serve

from orders.stores import event_codec

ID = "0193ab00-0000-7000-8000-000000000001"
DROP, HOLD, INTERRUPT = "drop the socket", "say nothing more", "press Ctrl-C"
QUOTE = {"price": "154.9", "feeBps": 20, "netPrice": "154.59", "ageMs": 350, "amountOut": "231.9"}
FEES = {"venueFeeBps": 20, "venueFee": "0.003", "venueFeeToken": "SOL", "networkFeeLamports": 5000}


def told(seq, status, attempt=1, **facts):
    head = {"orderId": ID, "seq": seq, "status": status, "at": "2026-11-22T12:00:00.000Z", "attempt": attempt}
    return {**head, **event_codec.with_kind(status, facts)}


PENDING = told(1, "pending", 0, type="market", pair="SOL-USDC", amountIn="1.5", slippageBps=50)
ROUTING = told(
    2,
    "routing",
    venue="METEORA",
    reason="METEORA pays 12 bps more than RAYDIUM after fees and impact",
    source="best",
    quotes=[{"venue": "METEORA", **QUOTE}, {"venue": "RAYDIUM", **QUOTE, "amountOut": "231.5"}],
    missing=[],
)
BUILDING = told(3, "building", venue="METEORA", expectedOut="231.9", minimumOut="230.7405", quotedPrice="154.6")
SUBMITTED = told(4, "submitted", venue="METEORA", txHash="5hash", lastValidBlockHeight=7)
CONFIRMED = told(
    5, "confirmed", amountOut="231.8", executedPrice="154.53", slippageBps="4.31", fees=FEES, txHash="5hash"
)
FAILED = told(3, "failed", code="no_quote", message="no venue has quoted this pair", replayMayHelp=True)
LIFE = [PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED]


def press_ctrl_c():
    """Interrupt the client inside its read, which only a signal to its own thread ends."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


class Engine:
    """A stand-in for the API: answers each request as told, and serves each socket in turn one list of what to do.

    `answers` holds, by method, the status and body of each answer in turn; the last one is repeated.
    """

    def __init__(self):
        self.status, self.answer = 202, None
        self.answers = {}
        self.sockets = [LIFE]
        self.posted, self.heard, self.asked, self.keys = [], [], [], []
        engine = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self):
                engine.keys.append(self.headers["Authorization"])
                engine.posted.append((self.path, self.body()))
                self.say(engine.status, engine.answer or engine.placed())

            def do_GET(self):
                engine.keys.append(self.headers["Authorization"])
                engine.heard.append((self.command, self.path, self.body(), self.headers["If-Match"]))
                turns = engine.answers[self.command]
                status, answer = turns.pop(0) if len(turns) > 1 else turns[0]
                if answer == INTERRUPT:
                    press_ctrl_c()
                    engine.over.wait(10)
                if answer not in (DROP, INTERRUPT):
                    self.say(status, answer)

            def do_DELETE(self):
                self.do_GET()

            def do_PATCH(self):
                self.do_GET()

            def body(self):
                text = self.rfile.read(int(self.headers["Content-Length"] or 0))
                return json.loads(text) if text else None

            def say(self, status, answer):
                self.send_response(status)
                self.end_headers()
                self.wfile.write((answer if isinstance(answer, str) else json.dumps(answer)).encode())

            def log_message(self, *_):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.ws = serve(self.stream, "127.0.0.1", 0)
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        # Polling every hundredth of a second for the end of the test, not every half.
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        threading.Thread(target=self.ws.serve_forever, daemon=True).start()

    def placed(self):
        port = self.ws.socket.getsockname()[1]
        own = f"{self.url}/api/orders/{ID}"
        links = {"self": own, "events": f"{own}/events", "ws": f"ws://127.0.0.1:{port}/ws/{ID}"}
        return {"orderId": ID, "status": "pending", "createdAt": "2026-11-22T12:00:00Z", "links": links}

    def order(self, **facts):
        """Describe the order as GET, PATCH and DELETE do."""
        names = {"clientOrderId": None, "type": "limit", "pair": "SOL-USDC", "tokenIn": "SOL", "tokenOut": "USDC"}
        asked = {"amount": "2", "slippageBps": 50, "limitPrice": "155.2", "maxPrice": None}
        waits = {"timeInForce": "gtc", "expiresAt": None, "trigger": None, "allowUnknown": None, "resting": None}
        stands = {"seq": 1, "attempt": 0, "venue": None, "txHash": None, "result": {}, "replayOf": None}
        return {**self.placed(), **names, **asked, **waits, **stands, "updatedAt": "2026-11-22T12:00:00Z", **facts}

    def stream(self, connection):
        self.asked.append(connection.request.path)
        for step in self.sockets[min(len(self.asked), len(self.sockets)) - 1]:
            if step == DROP:
                connection.socket.shutdown(socket.SHUT_RDWR)
                return
            if isinstance(step, threading.Event):
                step.wait(10)
                continue
            if step == INTERRUPT:
                press_ctrl_c()
            if step in (HOLD, INTERRUPT):
                self.over.wait(10)
                return
            if isinstance(step, int):
                connection.close(step)
                return
            connection.send(json.dumps(step))

    def stop(self):
        self.over.set()
        self.http.shutdown()
        self.http.server_close()
        self.ws.shutdown()


def run(*words):
    """Run a command; return its exit code."""
    try:
        call_command(*words)
    except SystemExit as end:
        return end.code
    return 0


def refused(*words):
    """Run a command that is refused; return its exit code and its message."""
    with pytest.raises(CommandError) as refusal:
        call_command(*words)
    return refusal.value.returncode, str(refusal.value)


def manage(*words, **environment):
    """Run manage.py as a process of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env={**os.environ, **environment, "ENGINE_NO_VENV": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


OTHER = "0193ab00-0000-7000-8000-000000000002"
MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
LIMIT = told(
    1, "pending", 0, type="limit", pair="SOL-USDC", amountIn="2", slippageBps=50, limitPrice="155.2", timeInForce="gtc"
)
CONDITIONS = [
    {"kind": "liquidity", "atLeast": "50000"},
    {"kind": "volume", "atLeast": "10000", "windowS": 60},
]
SNIPER = told(
    1,
    "pending",
    0,
    type="sniper",
    pair="SOL-WIF",
    amountIn="0.5",
    slippageBps=50,
    maxPrice="0.01",
    timeInForce="gtd",
    expiresAt="2026-11-22T12:10:00.000Z",
    trigger=CONDITIONS,
)
PRICE = {
    "kind": "price",
    "venue": "METEORA",
    "price": "155.31",
    "limitPrice": "155.2",
    "observedAt": "2026-11-22T12:00:00.000Z",
    "ageMs": 310,
    "polls": 2,
}
CHECKS = [
    {"gate": "mintAuthority", "value": "none", "source": "token", "verdict": "pass", "reason": "renounced"},
    {"gate": "topHolder", "value": None, "source": "token", "verdict": "refuse", "reason": "unknown"},
]


def error(code, message="it is not so", fields=()):
    return {"error": {"code": code, "message": message, "fields": list(fields)}}


def always(status, answer):
    return {method: [(status, answer)] for method in ("GET", "PATCH", "DELETE")}


def watch(engine, *more):
    return run("watch", ID, "--url", engine.url, *more)


def orders(engine, *more):
    return run("orders", "--url", engine.url, *more)


def page(*results, following=None):
    return [(200, {"next": following, "previous": None, "results": list(results)})]
