"""The commands: `order` against a small stand-in for the API, the others against the real stores."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands
from websockets.sync.server import serve

from deploy.servers import free_port
from orders.client import Backoff
from orders.management import engine as commands_engine
from orders.models import DeadLetter, Order, Verdict
from orders.stores import event_codec
from routing import outages
from routing.catalogue import catalogue
from tests.factories import AttemptFactory, DeadLetterFactory

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
        self.posted, self.heard, self.asked = [], [], []
        engine = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self):
                engine.posted.append((self.path, self.body()))
                self.say(engine.status, engine.answer or engine.placed())

            def do_GET(self):
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


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Back off in hundredths of a second."""
    monkeypatch.setattr(commands_engine, "BACKOFF", Backoff(0.01, 0.1))


def run(*words):
    """Run a command; return its exit code."""
    try:
        call_command(*words)
    except SystemExit as end:
        return end.code
    return 0


def order(engine, *more):
    return run("order", "market", "SOL", "USDC", "1.5", "--url", engine.url, *more)


def refused(*words):
    """Run a command that is refused; return its exit code and its message."""
    with pytest.raises(CommandError) as refusal:
        call_command(*words)
    return refusal.value.returncode, str(refusal.value)


def test_every_stage_is_shown_on_one_line_with_what_matters(engine, capsys):
    assert order(engine) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"order {ID}"
    assert [line.split()[2] for line in lines] == ["pending", "routing", "building", "submitted", "confirmed"]
    assert "sell 1.5 SOL-USDC at market, slippage at most 50 bps" in lines[0]
    assert "METEORA 154.9 less 20 bps pays 231.9 (350 ms old), RAYDIUM 154.9 less 20 bps pays 231.5" in lines[1]
    assert "METEORA pays 12 bps more than RAYDIUM" in lines[1]
    assert "expects 231.9, accepts no less than 230.7405" in lines[2]
    assert "5hash" in lines[3]
    assert "got 231.8 at 154.53, slippage 4.31 bps, fees 0.003 SOL and 5000 lamports" in lines[4]


def test_times_count_from_the_post_and_never_go_back(engine, capsys):
    order(engine)
    times = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert times == sorted(times)
    assert times[0] > 0


def test_json_writes_each_event_on_a_line_and_nothing_else(engine, capsys):
    assert order(engine, "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == LIFE


def test_the_order_is_posted_as_it_was_typed_with_a_name_of_its_own_if_it_was_given_none(engine):
    order(engine)
    order(engine)
    order(engine, "--slippage-bps", "75", "--client-order-id", "mine-1")
    names = [body.pop("clientOrderId") for _, body in engine.posted[:2]]
    assert len({*names, "mine-1"}) == 3
    plain = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
    assert engine.posted == [
        ("/api/orders/execute", plain),
        ("/api/orders/execute", plain),
        ("/api/orders/execute", plain | {"slippageBps": 75, "clientOrderId": "mine-1"}),
    ]


def test_a_dropped_socket_is_taken_up_after_the_last_event_seen(engine, capsys):
    engine.sockets = [[PENDING, ROUTING, DROP], [DROP], [BUILDING, SUBMITTED, 1012], [CONFIRMED]]
    assert order(engine, "--json") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5]
    assert engine.asked == [f"/ws/{ID}", f"/ws/{ID}?after=2", f"/ws/{ID}?after=2", f"/ws/{ID}?after=4"]


def test_an_event_sent_twice_is_shown_once(engine, capsys):
    engine.sockets = [[PENDING, ROUTING, DROP], [PENDING, ROUTING, *LIFE[2:]]]
    assert order(engine, "--json") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5]


def test_a_retry_says_what_failed_and_when_the_next_try_comes(engine, capsys):
    retry = told(2, "routing", retry={"code": "venue_down", "message": "METEORA did not answer", "inMs": 180})
    engine.sockets = [[PENDING, retry, FAILED]]
    order(engine)
    assert "try 1 failed: METEORA did not answer (venue_down); next in 180 ms" in capsys.readouterr().out


@pytest.mark.parametrize("last", [FAILED, told(3, "cancelled"), told(3, "expired")])
def test_an_order_that_ends_otherwise_exits_1(engine, last):
    engine.sockets = [[PENDING, ROUTING, last]]
    assert order(engine) == 1


def test_a_failure_is_told_with_whether_a_replay_may_help(engine, capsys):
    engine.sockets = [[PENDING, ROUTING, FAILED]]
    order(engine)
    assert "no venue has quoted this pair (no_quote); a replay may help" in capsys.readouterr().out


def test_refused_input_names_the_field_and_what_is_accepted(engine):
    field = {"field": "amount", "value": "0", "message": "must be above 0", "accepted": "a decimal above 0"}
    engine.status = 400
    engine.answer = {"error": {"code": "invalid", "message": "amount must be above 0", "fields": [field]}}
    code, message = refused("order", "market", "SOL", "USDC", "0", "--url", engine.url)
    assert code == 2
    assert message == "invalid: amount must be above 0\n  amount='0'; accepted: a decimal above 0"


def test_without_an_engine_it_says_how_to_start_one():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        code, message = refused("order", "market", "SOL", "USDC", "1", "--url", url)
    assert code == 2
    assert url in message
    assert "`python3 manage.py up`" in message


@pytest.mark.parametrize("answer", ["<html>It works!</html>", "[]", '{"orderId": 1}'])
def test_a_server_that_is_no_engine_is_called_that(engine, answer):
    engine.status, engine.answer = 200, answer
    code, message = refused("order", "market", "SOL", "USDC", "1", "--url", engine.url)
    assert code == 2
    assert "is --url right?" in message


def test_an_address_that_is_none_is_refused():
    assert refused("order", "market", "SOL", "USDC", "1", "--url", "localhost:8000")[0] == 2


def test_an_order_the_engine_does_not_know_is_not_asked_for_again(engine):
    engine.sockets = [[{"error": {"code": "not_found", "message": "there is no such order"}}, 4404]]
    code, message = refused("order", "market", "SOL", "USDC", "1", "--url", engine.url)
    assert code == 2
    assert "there is no such order" in message
    assert len(engine.asked) == 1


def test_out_of_time_it_says_that_the_order_goes_on(engine):
    engine.sockets = [[PENDING, HOLD]]
    code, message = refused("order", "market", "SOL", "USDC", "1", "--url", engine.url, "--timeout", "0.5")
    assert code == 2
    assert f"order {ID} is not final after 0.5 s" in message
    assert "it goes on" in message


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_says_that_the_order_goes_on_and_exits_130(engine, capsys):
    engine.sockets = [[PENDING, INTERRUPT]]
    assert order(engine, "--json") == 130
    assert f"Order {ID} goes on without you" in capsys.readouterr().err


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


@pytest.mark.parametrize("words", [["deadletters"], ["replay", "--all-safe"], ["sandbox", "venue", "RAYDIUM", "down"]])
def test_without_an_engine_nothing_is_asked_of_whatever_listens_on_the_usual_ports(tmp_path, words):
    done = manage(*words, DATABASE_URL="", REDIS_URL="", ENGINE_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"No engine runs on {tmp_path}")


def test_the_client_needs_neither_store(engine):
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = manage("order", "market", "SOL", "USDC", "1.5", "--url", engine.url, "--json", **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == LIFE


@pytest.fixture
def fresh_catalogue(db):
    catalogue.forget()
    yield
    catalogue.forget()


def test_replay_places_the_order_anew_and_puts_the_name_on_record(fresh_catalogue, capsys):
    letter = DeadLetterFactory()
    assert run("replay", str(letter.order_id), "--by", "night shift") == 0
    again = Order.objects.get(replay_of=letter.order)
    letter.refresh_from_db()
    assert letter.replayed_by == "night shift"
    assert f"{letter.order_id} replayed as {again.pk}" in capsys.readouterr().out


def test_a_second_replay_says_what_the_first_made_of_it(fresh_catalogue, capsys):
    letter = DeadLetterFactory()
    run("replay", str(letter.order_id))
    again = Order.objects.get(replay_of=letter.order)
    capsys.readouterr()
    assert run("replay", str(letter.order_id)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{letter.order_id} already replayed as {again.pk}", "0 replayed, 0 refused, 1 already replayed"]


def test_replay_refuses_what_landed_and_says_so(fresh_catalogue, capsys):
    letter = DeadLetterFactory()
    AttemptFactory(order=letter.order, state="landed")
    assert run("replay", str(letter.order_id)) == 1
    assert f"refused: {letter.order_id}: landed, do not replay" in capsys.readouterr().err
    assert not Order.objects.filter(replay_of=letter.order).exists()


def test_replay_of_an_order_without_a_letter_exits_2(fresh_catalogue):
    unknown = str(uuid4())
    code, message = refused("replay", unknown)
    assert code == 2
    assert unknown in message


def test_replay_all_safe_takes_the_safe_ones_and_leaves_the_others(fresh_catalogue):
    safe = DeadLetterFactory.create_batch(2)
    others = [
        DeadLetterFactory(verdict=Verdict.LANDED),
        DeadLetterFactory(verdict=Verdict.WAIT),
        DeadLetterFactory(replay_may_help=False),
    ]
    assert run("replay", "--all-safe") == 0
    assert set(Order.objects.exclude(replay_of=None).values_list("replay_of", flat=True)) == {o.order_id for o in safe}
    assert not DeadLetter.objects.filter(pk__in=[one.pk for one in others]).exclude(replayed_at=None).exists()


def test_replay_all_safe_goes_on_past_one_that_turns_out_unsafe(fresh_catalogue, capsys):
    landed, safe = DeadLetterFactory(), DeadLetterFactory()
    AttemptFactory(order=landed.order, state="landed")
    assert run("replay", "--all-safe") == 1
    assert Order.objects.filter(replay_of=safe.order).exists()
    assert "1 replayed, 1 refused" in capsys.readouterr().out


def test_deadletters_lists_the_newest_first_with_verdict_and_replay(fresh_catalogue, capsys):
    first, second = DeadLetterFactory(), DeadLetterFactory(verdict=Verdict.LANDED, reason="the pool moved")
    run("replay", str(first.order_id))
    again = Order.objects.get(replay_of=first.order)
    capsys.readouterr()
    assert run("deadletters") == 0
    _, newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.split()[0] == str(second.order_id)
    assert "landed" in newest
    assert "the pool moved" in newest
    assert str(again.pk) in oldest


def test_deadletters_can_be_narrowed_to_one_outlook(fresh_catalogue, capsys):
    safe, landed = DeadLetterFactory(), DeadLetterFactory(verdict=Verdict.LANDED)
    useless = DeadLetterFactory(replay_may_help=False)
    run("deadletters", "--replay", "safe")
    listed = capsys.readouterr().out
    assert str(safe.order_id) in listed
    assert str(landed.order_id) not in listed
    assert str(useless.order_id) not in listed


def test_deadletters_says_of_each_what_a_replay_would_come_to(fresh_catalogue, capsys):
    DeadLetterFactory(reason="-")
    DeadLetterFactory(reason="-", replay_may_help=False)
    DeadLetterFactory(reason="-", verdict=Verdict.WAIT)
    DeadLetterFactory(reason="-", verdict=Verdict.LANDED)
    run("deadletters")
    _, *lines = capsys.readouterr().out.splitlines()
    words = [re.split(r" {2,}", line)[2] for line in lines]
    assert words == ["landed, do not", "wait", "cannot help", "safe"]


@pytest.mark.parametrize("command", [["deadletters"], ["replay", "--all-safe"]])
def test_without_postgres_a_command_says_so_at_once_and_nothing_else(command):
    done = manage(*command, DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert done.returncode == 2
    first, reason, *_ = done.stderr.splitlines()
    assert first == "CommandError: Postgres cannot be reached; is `manage.py up` running?"
    assert "refused" in reason
    assert '"event"' not in done.stderr + done.stdout


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_without_a_command_our_own_come_first_and_then_how_to_see_djangos(words):
    said = manage(*words).stdout
    places = [said.index(f"\n  {name} ") for name in ("up", "test", "order", "deadletters", "replay", "sandbox")]
    assert places == sorted(places)
    assert "help --commands" in said.splitlines()[-1]


def test_every_command_of_ours_is_in_the_help():
    ours = {name for name, app in get_commands().items() if app in ("orders", "routing", "workers")}
    listed = {line.split()[0] for line in manage().stdout.splitlines() if line.startswith("  ")}
    assert listed == ours | {"up", "test"}


def test_an_order_whose_reader_has_seen_enough_ends_without_a_word(engine):
    gone = threading.Event()
    engine.sockets = [[PENDING, gone, *LIFE[1:]]]
    words = ["order", "market", "SOL", "USDC", "1.5", "--url", engine.url]
    process = subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env={**os.environ, "ENGINE_NO_VENV": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == f"order {ID}\n"
    process.stdout.close()
    gone.set()
    assert process.stderr.read() == ""
    assert process.wait(20) == 128 + signal.SIGPIPE
    process.stderr.close()


def test_without_dead_letters_it_says_so(fresh_catalogue, capsys):
    assert run("deadletters") == 0
    assert capsys.readouterr().out == "There are no dead letters.\n"


@pytest.fixture
def venues_up():
    yield
    for venue in ("RAYDIUM", "METEORA"):
        outages.put(venue, "up")


def test_a_venue_is_taken_down_and_brought_back(venues_up, capsys):
    assert run("sandbox", "venue", "raydium", "down") == 0
    assert outages.Outages()("RAYDIUM")
    assert not outages.Outages()("METEORA")
    assert run("sandbox", "venue", "RAYDIUM", "up") == 0
    assert not outages.Outages()("RAYDIUM")
    assert capsys.readouterr().out.splitlines() == [
        "RAYDIUM is down from now on, for every process.",
        "RAYDIUM is up from now on, for every process.",
    ]


def test_an_unknown_venue_is_refused_with_those_there_are():
    code, message = refused("sandbox", "venue", "ORCA", "down")
    assert code == 2
    assert "RAYDIUM, METEORA" in message
