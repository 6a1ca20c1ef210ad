"""Nothing that lets anybody in is in the logs, at their most talkative, whatever was done with it."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
import websockets

from tests.system import SECRETS, System, system

pytestmark = pytest.mark.system
WITHIN_S = 60


@pytest.fixture(scope="module")
def engine():
    with system({"ENGINE_LOG_LEVEL": "DEBUG", "MOCK_QUOTE_DELAY_MS": "0", "MOCK_CONFIRM_DELAY_MS": "0"}) as running:
        yield running


async def use(engine: System) -> list[str]:
    """Use every way in, rightly and wrongly; return what let us in or would have."""
    order = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
    wrong = engine.api_key[:-4] + "zzzz"
    async with httpx.AsyncClient(base_url=engine.url, trust_env=False) as http:
        placed = await http.post("/api/orders/execute", json=order, headers=engine.headers)
        order_id = placed.json()["orderId"]
        tickets = [(await http.post("/api/tickets", headers=engine.headers)).json()["ticket"] for _ in range(2)]
        for _ in range(2):
            refused = await http.post("/api/orders/execute", json=order, headers={"authorization": f"Bearer {wrong}"})
            assert refused.status_code == 401
            assert (await http.get("/api/orders", headers={"authorization": f"Bearer {wrong}"})).status_code == 401
    link = (engine.data_dir / "desk-link").read_text()
    async with httpx.AsyncClient(base_url=engine.url, trust_env=False) as http:
        assert (await http.get(f"/enter/{link}")).headers["location"] == "/"
        assert (await http.get("/")).status_code == 200
        session = http.cookies["engine_session"]
        assert (await http.get(f"/enter/{link}")).headers["location"] == "/login/?used"
    address = f"{engine.ws}/ws/{order_id}"
    async with websockets.connect(address, additional_headers=engine.headers, proxy=None) as socket:
        assert json.loads(await socket.recv())["seq"] == 1
    async with websockets.connect(address, subprotocols=["engine", f"ticket.{tickets[0]}"], proxy=None) as socket:
        assert json.loads(await socket.recv())["seq"] == 1
    async with websockets.connect(address, proxy=None) as socket:
        await socket.send(json.dumps({"ticket": tickets[1]}))
        assert json.loads(await socket.recv())["seq"] == 1
    password = (engine.data_dir / "admin-password").read_text().strip()
    assert engine.session["value"] != session
    pepper = (engine.data_dir / "key-pepper").read_text()
    secret_key = (engine.data_dir / "secret-key").read_text()
    return [engine.api_key, wrong, *tickets, link, session, engine.session["value"], password, pepper, secret_key]


def test_every_engine_that_a_test_starts_has_its_logs_read(tmp_path):
    engine = System({}, (), tmp_path)
    for name in SECRETS:
        (tmp_path / name).write_text(f"the {name}\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "up.log").write_text("nothing")
    (tmp_path / "logs" / "api.log").write_text("nothing either")
    assert engine.secrets_in_logs() == []
    (tmp_path / "logs" / "api.log").write_text("a line\nsent the api-key to somebody")
    assert engine.secrets_in_logs() == [("api.log", "api-key")]


def test_no_log_has_a_key_a_ticket_a_session_or_a_password(engine):
    secrets = asyncio.run(asyncio.wait_for(use(engine), WITHIN_S))
    made = engine.manage("apikeys", "create", "reporting", "--owner", "admin", "--scopes", "read")
    assert made.returncode == 0, made.stderr
    secrets.append(made.stdout.strip())
    assert len(secrets) == 11 and min(map(len, secrets)) >= 16
    logs = {path: path.read_text(errors="replace") for path in Path(engine.data_dir / "logs").glob("*.log")}
    assert len(logs) > 6 and "API key made" in made.stderr
    found = [(path.name, secret[:6]) for path, text in logs.items() for secret in secrets if secret in text]
    assert found == []
    assert made.stdout.strip() not in made.stderr
