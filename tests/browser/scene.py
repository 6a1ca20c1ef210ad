"""A trade that has everything in it: prices that move, orders in every stage, refused tries, dead letters."""

from typing import Any

import httpx

from tests.system import System, eventually, quoted

LIVELY = {
    "MOCK_QUOTE_DELAY_MS": "50-200",
    "MOCK_CONFIRM_DELAY_MS": "1500-5000",
    "MOCK_REJECT_RATE": "0.5",
    "MOCK_LAUNCH_EVERY_S": "0",
    # Refusals open breakers, which would be in the pictures.
    "VENUE_FAILURES_MAX_PCT": "0",
}
"""Venues that stray as they do, a chain slow enough to be watched, and one that refuses every other."""
WITHIN_S = 120.0
FINAL = {"confirmed", "failed", "cancelled", "expired"}
ABOVE = ("1.004", "1.012", "1.03", "1.03")
"""Where limit orders rest, as multiples of the price."""

Json = dict[str, Any]


class Scene:
    """What is going on in an engine."""

    def __init__(self, engine: System) -> None:
        self.engine = engine
        self.http = httpx.Client(base_url=engine.url, headers=engine.headers, trust_env=False, timeout=60)
        quoted(engine)

    def best(self) -> float:
        """Return the price of SOL now."""
        return float(self.http.get("/api/quotes/SOL-USDC").json()["best"]["netPrice"])

    def place(self, **order: Any) -> str:
        """Place an order."""
        answer = self.http.post("/api/orders/execute", json={"tokenIn": "SOL", "tokenOut": "USDC", **order})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["orderId"])

    def trade(self, count: int) -> list[str]:
        """Place market orders."""
        return [self.place(type="market", amount=f"{0.4 + i % 17 / 5:.1f}") for i in range(count)]

    def rest(self) -> list[str]:
        """Place orders that wait: limit orders above the price, and a sniper order that asks for much."""
        best = self.best()
        prices = [f"{best * float(above):.2f}" for above in ABOVE]
        limits = [self.place(type="limit", amount=str(2 + i), limitPrice=one) for i, one in enumerate(prices)]
        return [*limits, self.wait()]

    def wait(self) -> str:
        """Place a sniper order that asks for more than will ever be."""
        much = {"kind": "volume", "atLeast": "900000000", "windowS": 60}
        return self.place(type="sniper", tokenOut="WIF", amount="0.5", maxPrice="0.05", trigger=[much])

    def too_much(self) -> str:
        """Place an order no pool can fill: a dead letter that no replay helps."""
        return self.place(type="market", amount="900000")

    def order(self, order_id: str) -> Json:
        """Return an order as the API has it."""
        found: Json = self.http.get(f"/api/orders/{order_id}").json()
        return found

    def events(self, order_id: str) -> list[Json]:
        """Return an order's events."""
        found: list[Json] = self.http.get(f"/api/orders/{order_id}/events").json()["events"]
        return found

    def ended(self, order_ids: list[str]) -> None:
        """Wait until these orders are final."""
        for order_id in order_ids:
            eventually(lambda one=order_id: self.order(one)["status"] in FINAL, WITHIN_S, f"{order_id} ends")

    def failed_for_good(self) -> str:
        """Return an order that the chain refused at every try: its dead letter is safe to replay."""

        def found() -> str | None:
            rows = self.http.get("/api/orders", params={"status": "failed", "limit": 200}).json()["results"]
            failed = next((one["orderId"] for one in rows if one["result"].get("replayMayHelp")), None)
            return failed or self.ended(self.trade(15))

        return str(eventually(found, WITHIN_S, "an order that failed for good"))

    def tried_again(self) -> str:
        """Return an order that was filled at its second try or later."""

        def found() -> str | None:
            rows = self.http.get("/api/orders", params={"status": "confirmed", "type": "market", "limit": 200}).json()[
                "results"
            ]
            again = next((one["orderId"] for one in rows if one["attempt"] > 1), None)
            return again or self.ended(self.trade(5))

        return str(eventually(found, WITHIN_S, "an order filled at its second try"))

    def letters(self, count: int) -> None:
        """Wait until so many dead letters are kept."""

        def kept() -> bool:
            with self.engine.postgres() as db:
                row = db.execute("SELECT count(*) FROM orders_deadletter").fetchone()
            return row is not None and row[0] >= count

        eventually(kept, WITHIN_S, f"{count} dead letters")
