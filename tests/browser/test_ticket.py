"""The ticket: nothing is placed twice or by accident, and what happened is said in a trader's words."""

from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.system

SOL = {"tokenIn": "SOL", "tokenOut": "USDC"}
USDC = {"tokenIn": "USDC", "tokenOut": "SOL"}


def with_amount(desk, *amounts):
    """Return the amounts of the orders that the engine has with one of these."""
    placed = desk.http.get("/api/orders", params={"limit": 200}).json()["results"]
    return sorted(one["amount"] for one in placed if one["amount"] in amounts)


def asked(desk, title):
    """Wait for a question; return its dialog."""
    dialog = desk.page.get_by_role("dialog", name=title)
    dialog.wait_for()
    return dialog


@contextmanager
def answers_lost(desk):
    """Let orders reach the engine, and none of its answers come back."""

    def lose(route):
        route.fetch()
        route.abort()

    desk.page.route("**/api/orders/execute", lose)
    yield
    desk.page.unroute("**/api/orders/execute", lose)


def test_an_order_whose_answer_is_lost_is_placed_once_and_a_changed_one_asks_first(desk):
    desk.expected = ("ERR_FAILED",)
    desk.fill(amount="1.111")
    with answers_lost(desk):
        desk.page.click("#place")
        desk.until(lambda: "may have been accepted" in desk.text("#outcome"), "it says that it does not know")
    desk.fill(amount="1.112")
    desk.page.click("#place")
    asked(desk, "Place another order?").get_by_role("button", name="Go back").click()
    desk.fill(amount="1.111")
    desk.page.click("#place")
    desk.until(lambda: desk.text("#outcome").startswith("Accepted"), "it is answered")
    assert with_amount(desk, "1.111", "1.112") == ["1.111"]


def test_a_changed_order_after_a_lost_answer_is_placed_once_that_is_meant(desk):
    desk.expected = ("ERR_FAILED",)
    desk.fill(amount="1.121")
    with answers_lost(desk):
        desk.page.click("#place")
        desk.until(lambda: "may have been accepted" in desk.text("#outcome"), "it says that it does not know")
    desk.fill(amount="1.122")
    desk.page.click("#place")
    asked(desk, "Place another order?").get_by_role("button", name="Place this one as well").click()
    desk.until(lambda: desk.text("#outcome").startswith("Accepted"), "it is answered")
    assert with_amount(desk, "1.121", "1.122") == ["1.121", "1.122"]


def test_an_order_without_an_answer_is_remembered_over_a_reload(desk):
    desk.expected = ("ERR_FAILED",)
    desk.fill(amount="1.141")
    with answers_lost(desk):
        desk.page.click("#place")
        desk.until(lambda: with_amount(desk, "1.141"), "the engine has it")
        desk.page.reload()
    desk.until(
        lambda: desk.text("#outcome").startswith("Accepted before the reload: market order, 1.141"), "it is told"
    )
    desk.is_live()
    desk.page.reload()
    desk.is_live()
    assert desk.text("#outcome") == "" and with_amount(desk, "1.141") == ["1.141"]


@pytest.mark.parametrize("look", [{}, {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}], ids=str)
def test_results_are_shown_by_market_and_follow_the_fills(opened, look):
    with opened(**look) as desk:
        shows_results(desk)
        assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing overflows"


def shows_results(desk):
    """Buy, and compare what the dialog shows with what the engine says."""
    desk.side("Buy")
    desk.fill(amount="300")
    desk.ends(desk.place(), "confirmed")
    desk.side("Sell")
    desk.page.get_by_role("button", name="Results").click()
    dialog = asked(desk, "Positions and results")
    row = dialog.locator("#positions tr", has_text="SOLin USDC")
    row.wait_for()
    (held,) = [
        one
        for one in desk.http.get("/api/positions").json()["results"]
        if (one["token"], one["quoteToken"]) == ("SOL", "USDC")
    ]
    cells = row.locator("td").all_inner_texts()
    assert float(held["amount"]) > 0 and float(cells[0].split()[0]) == pytest.approx(float(held["amount"]))
    assert float(cells[1].split()[0]) == pytest.approx(float(held["averageCost"]), rel=1e-4)
    assert dialog.evaluate("one => one.scrollWidth <= one.clientWidth"), "nothing overflows"
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")


def test_a_key_pressed_twice_is_one_order(desk):
    desk.fill(amount="1.131")
    for _ in range(3):
        desk.page.keyboard.press("Enter")
    desk.until(lambda: desk.text("#outcome").startswith("Accepted"), "it is accepted")
    desk.page.keyboard.press("Enter")
    assert desk.page.get_attribute("#place", "aria-disabled") == "true"
    assert desk.text("#problem") == "Enter an amount."
    desk.fill(amount="1.132")
    desk.place()
    assert with_amount(desk, "1.131", "1.132") == ["1.131", "1.132"]


def test_a_fill_is_told_in_full_and_so_is_an_end_without_one(desk):
    desk.fill(amount="2.5")
    desk.ends(desk.place(), "confirmed")
    sold = desk.page.locator("#live .toast", has_text="Sold 2.5 SOL for")
    sold.wait_for()
    (event,) = [one for one in events_of(desk, "2.5") if one["status"] == "confirmed"]
    assert sold.locator("span").inner_text() == (
        f"Sold 2.5 SOL for {float(event['amountOut']):.6f}".rstrip("0")
        + f" USDC at {float(event['executedPrice']):.4f}".rstrip("0").rstrip(".")
        + f", {event['venue']}"
    )
    sold.get_by_role("button", name="Dismiss").click()
    assert not sold.count()
    desk.choose("limit")
    desk.fill(amount="1", limitPrice="900")
    order_id = desk.place()
    desk.row(order_id).get_by_role("button", name="Cancel").click()
    desk.page.locator("#live .toast", has_text="Limit order cancelled by you.").wait_for()


def events_of(desk, amount):
    """Return the events of the newest order with this amount."""
    placed = desk.http.get("/api/orders", params={"limit": 200}).json()["results"]
    order_id = next(one["orderId"] for one in placed if one["amount"] == amount)
    return desk.http.get(f"/api/orders/{order_id}/events").json()["events"]


def large(desk):
    """Return an amount of SOL whose price impact is from 1 % to 3 %."""
    for amount in (2_000, 5_000, 10_000, 20_000, 50_000, 100_000):
        fill = desk.http.post("/api/orders/estimate", json={"type": "market", **SOL, "amount": str(amount)}).json()[
            "fill"
        ]
        if fill and 100 <= float(fill["impactBps"]) < 300:
            return str(amount)
    raise AssertionError("no such amount")


def test_a_large_order_asks_once_and_an_enter_too_many_agrees_to_nothing(desk):
    amount = large(desk)
    desk.fill(amount=amount)
    desk.page.keyboard.press("Enter")
    dialog = asked(desk, "Place this large order?")
    assert f"against you: {int(amount):,} SOL for about" in dialog.inner_text()
    desk.page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    assert with_amount(desk, amount) == []
    desk.page.click("#place")
    asked(desk, "Place this large order?").get_by_role("button", name="Place market order").click()
    desk.until(lambda: desk.text("#outcome").startswith("Accepted"), "it is accepted")
    assert with_amount(desk, amount) == [amount]


def test_what_became_of_the_last_order_is_said_as_long_as_it_is_true(desk):
    desk.choose("limit")
    desk.fill(amount="1234.5", limitPrice="900")
    row = desk.row(desk.place())
    assert desk.text("#outcome") == "Accepted: limit order, 1,234.5 SOL for USDC."
    desk.page.get_by_role("button", name="Show it").click()
    row.locator(".timeline").wait_for()
    row.get_by_role("button", name="Cancel").click()
    desk.until(lambda: desk.text("#outcome") == "Cancelled: limit order, 1,234.5 SOL for USDC.", "its end")
    assert "Cancelled by you." in row.locator(".timeline").inner_text()
    assert row.locator(".problem").inner_text() == "Cancelled by you."
    desk.choose("market")
    assert desk.text("#outcome") == "" and not desk.page.get_by_role("button", name="Show it").is_visible()


@pytest.mark.parametrize("look", [{}, {"viewport": {"width": 390, "height": 800}}], ids=["desktop", "phone"])
def test_a_large_slippage_is_warned_of_in_percent_and_asked_about(opened, look):
    with opened(**look) as desk:
        desk.fill(amount="1.151", slippageBps="4999")
        assert desk.text("label[for=slippageBps]") == "Slippage, bps = 49.99 %"
        warned = "May fill up to 49.99 % below the quote."
        desk.until(lambda: desk.text("#problem") == warned, "the warning")
        assert desk.page.get_attribute("#place", "aria-disabled") == "false"
        assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing overflows"
        desk.page.click("#place")
        dialog = asked(desk, "Place with a slippage of 49.99 %?")
        assert warned in dialog.inner_text() and "1.151 SOL for about" in dialog.inner_text()
        dialog.get_by_role("button", name="Go back").click()
        assert with_amount(desk, "1.151") == []
        desk.fill(slippageBps="299")
        desk.until(lambda: not desk.text("#problem"), "nothing to warn of")


def test_all_resting_orders_of_the_pair_are_cancelled_after_one_question_with_their_count(desk):
    desk.http.delete("/api/orders", params={"pair": "SOL-USDC"})
    desk.http.delete("/api/orders", params={"pair": "USDC-SOL"})
    other = desk.post(type="limit", tokenIn="JUP", tokenOut="USDC", amount="1", limitPrice="9")
    ids = [desk.post(type="limit", **SOL, amount="1", limitPrice=price) for price in ("300", "310")]
    ids.append(desk.post(type="limit", **USDC, amount="10", limitPrice="0.02"))
    desk.until(lambda: {other, *ids} <= set(desk.ids("pending")), "they rest")
    desk.page.get_by_role("button", name="Cancel all of SOL").click()
    dialog = asked(desk, "Cancel all of SOL")
    dialog.get_by_role("button", name="Keep them").click()
    assert set(ids) <= set(desk.ids("pending"))
    desk.page.get_by_role("button", name="Cancel all of SOL").click()
    asked(desk, "Cancel all of SOL").get_by_role("button", name="Cancel 3 orders").click()
    desk.page.locator("#live .toast", has_text="Cancelled 3 orders of SOL").wait_for()
    desk.until(lambda: set(ids) <= set(desk.ids("cancelled")), "they are cancelled")
    assert other in desk.ids("pending")
    desk.http.delete(f"/api/orders/{other}")


def test_the_ticket_shows_what_is_available_takes_a_share_of_it_and_blocks_what_is_more(desk):
    def available(token):
        return next(
            one["available"] for one in desk.http.get("/api/balances").json()["results"] if one["token"] == token
        )

    def row(token):
        return desk.page.locator("#balances div", has_text=token)

    def shown(token):
        desk.until(lambda: f"{token}: {available(token)} available" in (row(token).get_attribute("title") or ""), token)
        return float(available(token))

    assert shown("USDC") > 0
    sol = shown("SOL")
    desk.choose("limit")
    desk.fill(amount="1000", limitPrice="900")
    order_id = desk.place()
    assert shown("SOL") == sol - 1000 and "reserved" in row("SOL").inner_text()
    desk.page.get_by_role("button", name="50 %").click()
    assert float(desk.page.input_value("#amount")) == (sol - 1000) / 2
    desk.fill(amount=f"{sol - 999:.9f}", limitPrice="900")
    desk.until(lambda: "are reserved by open orders" in desk.text("#problem"), "the reason")
    assert desk.page.get_attribute("#place", "aria-disabled") == "true"
    desk.http.delete(f"/api/orders/{order_id}")
    assert shown("SOL") == sol
    desk.choose("market")
