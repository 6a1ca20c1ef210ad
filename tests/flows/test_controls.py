"""An operator's controls on the whole engine: what is saved in the admin counts in the other processes, and stays."""

import json
import re
from itertools import pairwise

import httpx
import pytest
from websockets.sync.client import connect

from tests.system import NO_DELAYS, System, eventually, system

pytestmark = pytest.mark.system

ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "2000"}
IMPACT = "orders/guard/ORDER_MAX_IMPACT_BPS"
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def engine():
    with system(NO_DELAYS) as running:
        yield running


class Operator:
    """Somebody in a browser, logged in to the admin."""

    def __init__(self, engine: System):
        self.http = httpx.Client(base_url=f"{engine.url}/admin/", follow_redirects=True, timeout=30)
        password = (engine.data_dir / "admin-password").read_text().strip()
        self.post("login/", username="admin", password=password)

    def post(self, page: str, to: str = "", **given: str) -> str:
        """Fill in a page's form, or post to another address, and return the page that follows."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.http.get(page).text)
        answer = self.http.post(to or page, data={**given, "csrfmiddlewaretoken": token[1]}, headers=self.referer())
        assert answer.status_code == 200, answer.text
        return answer.text

    def referer(self) -> dict[str, str]:
        return {"referer": str(self.http.base_url)}


def outcome(engine: System) -> str:
    """Place an order and return what became of it."""
    order = httpx.post(f"{engine.url}/api/orders/execute", json=ORDER, headers=engine.headers, timeout=10).json()
    with connect(f"{engine.ws}/ws/{order['orderId']}", additional_headers=engine.headers, open_timeout=10) as socket:
        last = [json.loads(message) for message in socket][-1]
    return last.get("code") or last["status"]


def becomes(engine: System, wanted: str) -> None:
    eventually(lambda: outcome(engine) == wanted, WITHIN_S, f"orders end as {wanted}")


def has_quotes(engine: System):
    return lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST")


def test_a_risk_limit_counts_in_the_order_worker_through_an_emptied_redis_and_a_restart_until_it_is_moved_back(engine):
    eventually(has_quotes(engine), WITHIN_S, "the first quotes")
    becomes(engine, "confirmed")
    page = Operator(engine).post(f"{IMPACT}/change/", value="1", reason="thin pools")
    assert "ORDER_MAX_IMPACT_BPS is changed" in page
    becomes(engine, "price_impact")
    engine.redis().flushall()
    eventually(lambda: engine.redis().hget("guards", "ORDER_MAX_IMPACT_BPS") == "1", WITHIN_S, "redis is told again")
    assert outcome(engine) == "price_impact"
    engine.stop()
    engine.start()
    eventually(has_quotes(engine), WITHIN_S, "the first quotes after the restart")
    assert outcome(engine) == "price_impact"
    Operator(engine).post("orders/guard/", f"{IMPACT}/default/")
    becomes(engine, "confirmed")


def observed(engine: System) -> int:
    return int(engine.redis().hget("quotes:{SOL-USDC}:RAYDIUM", "observed_at") or 0)


def gaps(engine: System, count: int) -> list[int]:
    """Return the times between so many of a venue's next quotes, in milliseconds."""
    seen = [observed(engine)]
    while len(seen) <= count:
        eventually(lambda: observed(engine) != seen[-1], WITHIN_S, "the next quote")
        seen.append(observed(engine))
    return [later - earlier for earlier, later in pairwise(seen)]


def polls_every(engine: System, every_ms: int) -> None:
    (pk,) = (
        engine.postgres().execute("SELECT id FROM django_celery_beat_periodictask WHERE name='stream.poll'").fetchone()
    )
    page = f"django_celery_beat/periodictask/{pk}/change/"
    assert "stream.poll is changed" in Operator(engine).post(page, every_ms=str(every_ms), reason="rate limits")


def trade_one_pair(engine: System) -> None:
    """Have polls cost so little that a busy machine can keep any pace."""
    with engine.postgres() as db:
        db.execute(
            """
            UPDATE routing_pair SET active = false FROM routing_token sold, routing_token bought
            WHERE sold.mint = token_in_id AND bought.mint = token_out_id
              AND (sold.symbol, bought.symbol) <> ('SOL', 'USDC')
            """
        )


def test_the_pace_of_polling_follows_without_a_restart_and_stays_over_one(engine):
    trade_one_pair(engine)
    # Several gaps in a row: one poll may be late on a busy machine, and the one after it seem early.
    polls_every(engine, 2_000)
    eventually(lambda: min(gaps(engine, 3)) > 1_000, 60, "polls come every 2 s")
    engine.stop()
    engine.start()
    eventually(lambda: min(gaps(engine, 3)) > 1_000, 60, "polls come every 2 s after the restart")
    polls_every(engine, 100)
    eventually(lambda: max(gaps(engine, 5)) < 400, 60, "polls come every 100 ms")
