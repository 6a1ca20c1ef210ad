"""Orders of every type, placed and watched on the desk by what a person sees."""

import os
import signal

import pytest
from solders.keypair import Keypair

pytestmark = pytest.mark.system

MARKET_LIFE = ["pending", "routing", "building", "submitted", "confirmed"]
WAITING_LIFE = ["pending", "triggered", *MARKET_LIFE[1:]]
REFUSED = ("status of 400",)


def all_done(life):
    return [(stage, "done") for stage in life]


def test_a_market_order_is_estimated_placed_and_watched_to_its_end(desk):
    desk.fill(amount="1.5")
    desk.until(lambda: "USDC" in desk.text("#estimate .strong"), "the estimate")
    estimated = desk.text("#estimate")
    assert "METEORA" in estimated or "RAYDIUM" in estimated
    order_id = desk.place()
    row = desk.ends(order_id, "confirmed")
    assert desk.stages(order_id) == all_done(MARKET_LIFE)
    assert row.locator(".c-venue span").inner_text() in ("RAYDIUM", "METEORA")
    price = float(row.locator(".c-price span").inner_text())
    assert 140 < price < 165
    assert "slip" in row.locator(".c-price small").inner_text()
    assert desk.timeline(order_id) == desk.told(order_id)
    assert "landed in slot" in row.locator(".attempts").inner_text()
    desk.until(lambda: "confirmed" in desk.page.locator("#live").inner_text(), "it is spoken")


def test_a_limit_order_rests_on_the_chart_and_fires_when_the_price_crosses_it(desk):
    desk.choose("limit")
    desk.until(lambda: float(desk.text("#best")) < 155, "the price is low")
    desk.fill(amount="2", limitPrice="155")
    order_id = desk.place()
    row = desk.ends(order_id, "confirmed")
    assert desk.stages(order_id) == all_done(WAITING_LIFE)
    assert float(row.locator(".c-price span").inner_text()) >= 155
    desk.row(order_id).locator(".toggle").click()
    assert "reached 155" in row.locator(".timeline").inner_text()
    desk.until(lambda: "155" in desk.page.locator("#fills").inner_text() or "159" in desk.text("#fills"), "the fill")


def test_a_sniper_order_waits_for_its_token_and_buys_it(desk):
    mint = str(Keypair().pubkey())
    desk.choose("sniper")
    desk.fill(tokenOut=mint, amount="0.5")
    desk.until(lambda: "not listed yet" in desk.text("#estimate"), "what is known of it")
    order_id = desk.place()
    desk.until(lambda: desk.row(order_id).get_attribute("data-status") == "pending", "it waits")
    launched = desk.engine.manage("sandbox", "launch", "--mint", mint, "--symbol", "NOVA", "--liquidity", "50000")
    assert launched.returncode == 0, launched.stderr
    row = desk.ends(order_id, "confirmed")
    assert desk.stages(order_id) == all_done(WAITING_LIFE)
    desk.row(order_id).locator(".toggle").click()
    assert "gates passed" in row.locator(".timeline").inner_text()


def test_a_resting_order_is_amended_and_cancelled_in_place(desk):
    desk.choose("limit")
    desk.fill(amount="3", limitPrice="200")
    order_id = desk.place()
    row = desk.row(order_id)
    desk.until(lambda: "200.00" in desk.page.locator("#levels").inner_text(), "its level")

    row.get_by_role("button", name="Amend").click()
    row.locator("input[name=limitPrice]").fill("210.5")
    row.get_by_role("button", name="Save").click()
    desk.until(lambda: "at 210.5" in row.locator(".c-what").inner_text(), "the new price")
    desk.until(lambda: "210.50" in desk.page.locator("#levels").inner_text(), "its new level")
    assert "limitPrice 200 → 210.5" in row.locator(".timeline").inner_text()

    row.locator(".danger").click()
    desk.ends(order_id, "cancelled")
    assert desk.stages(order_id)[0] == ("cancelled", "cancelled")
    assert desk.timeline(order_id) == [("1", "pending"), ("2", "pending"), ("3", "cancelled")]
    assert not row.locator(".actions button").first.is_visible()


def test_an_amendment_of_a_state_that_has_passed_changes_nothing_and_says_so(desk):
    order_id = desk.post(type="limit", tokenIn="SOL", tokenOut="USDC", amount="1", limitPrice="300")
    desk.expected = ("status of 412",)
    row = desk.row(order_id)
    row.get_by_role("button", name="Amend").click()
    row.locator("input[name=limitPrice]").fill("310")
    headers = {"If-Match": '"1"'}
    done = desk.http.patch(f"/api/orders/{order_id}", json={"limitPrice": "320"}, headers=headers)
    assert done.status_code == 200, done.text
    row.get_by_role("button", name="Save").click()
    desk.until(lambda: "moved on" in row.locator(".amend").inner_text(), "the refusal")
    desk.until(lambda: "at 320" in row.locator(".c-what").inner_text(), "what it is now")
    desk.http.delete(f"/api/orders/{order_id}")


def test_what_is_wrong_is_said_at_its_field_in_the_words_of_the_api(desk):
    desk.expected = REFUSED
    desk.choose("limit")
    desk.fill(amount="1", limitPrice="155.005")
    desk.until(lambda: "is not on the tick of 0.01" in desk.text("#limitPrice-error"), "the tick, before it is sent")
    desk.fill(amount="-1", slippageBps="9999")
    desk.page.click("#place")
    desk.until(lambda: desk.text("#outcome").startswith("Not placed"), "the refusal")
    answer = desk.http.post(
        "/api/orders/execute",
        json={
            "type": "limit",
            "tokenIn": "SOL",
            "tokenOut": "USDC",
            "amount": "-1",
            "limitPrice": "155.005",
            "slippageBps": 9999,
        },
    )
    assert len(answer.json()["error"]["fields"]) == 2
    for field in answer.json()["error"]["fields"]:
        name = field["field"]
        assert desk.text(f"#{name}-error") == field["message"]
        assert desk.page.get_attribute(f"#{name}", "aria-invalid") == "true"
        assert desk.page.get_attribute(f"#{name}", "aria-describedby") == f"{name}-error"
    assert desk.page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    desk.fill(amount="1", limitPrice="155", slippageBps="50")
    desk.until(lambda: not desk.text("#amount-error"), "the error goes")


def test_only_the_fields_that_apply_are_there(desk):
    def visible():
        return desk.page.eval_on_selector_all(
            "#order input[id], #order select", "all => all.filter(one => one.offsetParent).map(one => one.name)"
        )

    assert visible() == ["amount", "slippageBps"]
    desk.choose("limit")
    assert visible() == ["amount", "limitPrice", "slippageBps", "timeInForce"]
    desk.page.select_option("#timeInForce", "gtd")
    assert visible()[-1] == "expiresAt"
    desk.choose("sniper")
    assert visible() == ["tokenOut", "amount", "maxPrice", "slippageBps", "timeInForce", "expiresAt"]


def test_with_the_keyboard_alone_an_order_is_placed_opened_and_cancelled(desk):
    def tab_to(check, what):
        for _ in range(80):
            desk.page.keyboard.press("Tab")
            if desk.page.evaluate(f"(({check}))(document.activeElement)"):
                return
        raise AssertionError(f"Tab does not reach {what}")

    tab_to("one => one.name === 'type'", "the type of order")
    desk.page.keyboard.press("ArrowRight")
    tab_to("one => one.id === 'amount'", "the amount")
    desk.page.keyboard.type("1.25")
    tab_to("one => one.id === 'limitPrice'", "the price")
    desk.page.keyboard.type("400")
    before = set(desk.ids())
    desk.page.keyboard.press("Enter")
    (order_id,) = desk.until(lambda: set(desk.ids()) - before, "a row")
    of_row = f"one.closest('[data-order=\"{order_id}\"]')"
    tab_to(f"one => {of_row} && one.classList.contains('toggle')", "the row")
    desk.page.keyboard.press("Enter")
    desk.until(lambda: desk.row(order_id).locator(".timeline li").count() == 1, "the timeline")
    tab_to(f"one => {of_row} && one.textContent === 'Amend'", "Amend")
    desk.page.keyboard.press("Enter")
    desk.until(lambda: desk.row(order_id).locator("form.amend").is_visible(), "the form")
    desk.page.keyboard.press("Escape")
    assert desk.row(order_id).locator("form.amend").count() == 0
    tab_to(f"one => {of_row} && one.textContent === 'Cancel'", "Cancel")
    desk.page.keyboard.press("Enter")
    desk.ends(order_id, "cancelled")


def test_the_list_is_filtered_and_pages(desk):
    orders = [{"type": "market", "tokenIn": "USDC", "tokenOut": "JUP", "amount": "5"}] * 70
    answer = desk.http.post("/api/orders/batch", json={"orders": orders})
    assert answer.json()["accepted"] == 70
    desk.until(lambda: len(desk.ids()) >= 70, "those from elsewhere arrive")
    desk.page.reload()
    desk.is_live()
    with desk.page.expect_response(lambda answer: "pair=USDC-JUP" in answer.url):
        desk.page.select_option("#by-pair", "USDC-JUP")
    desk.until(lambda: len(desk.ids()) == 50, "the first page")
    desk.page.click("#older")
    desk.until(lambda: len(desk.ids()) == 70, "the second")
    assert desk.ids() == sorted(desk.ids(), reverse=True)
    assert not desk.page.locator("#older").is_visible()
    desk.page.select_option("#by-type", "sniper")
    desk.until(lambda: desk.ids() == [], "none")
    assert desk.text("#empty") == "No orders fit these filters."


def test_five_hundred_orders_that_move_at_once_are_all_shown_and_the_page_stays_responsive(desk):
    desk.page.evaluate(
        "new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " window.longest = Math.max(window.longest || 0, entry.duration); }).observe({ type: 'longtask' })"
    )
    order = {"type": "market", "tokenIn": "USDC", "tokenOut": "RAY", "amount": "5"}
    for _ in range(5):
        placed = desk.http.post("/api/orders/batch", json={"orders": [order] * 100})
        assert placed.json()["accepted"] == 100
    count = "document.querySelectorAll('.order[data-status=confirmed]').length"
    desk.until(lambda: desk.page.evaluate(count) >= 500, "all are confirmed")
    # A machine busy with other tests makes tasks long; half a second would be felt on any.
    assert desk.page.evaluate("window.longest || 0") < 500


def test_old_prices_are_flagged_until_new_ones_come(desk):
    stream = desk.engine.pids()["stream"]
    os.kill(stream, signal.SIGSTOP)
    try:
        desk.until(lambda: desk.page.locator("#stale").is_visible(), "the flag")
        assert "Prices are" in desk.text("#stale")
    finally:
        os.kill(stream, signal.SIGCONT)
    desk.until(lambda: not desk.page.locator("#stale").is_visible(), "the flag goes")


def test_a_server_that_dies_while_orders_move_costs_nothing_but_time(desk):
    desk.expected = ("WebSocket connection", "Failed to load resource", "ERR_")
    ids = [desk.post(type="limit", tokenIn="SOL", tokenOut="USDC", amount="1", limitPrice="158") for _ in range(10)]
    market = [{"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"}] * 30
    placed = desk.http.post("/api/orders/batch", json={"orders": market}).json()
    ids += [one["order"]["orderId"] for one in placed["results"]]
    desk.until(lambda: set(ids) <= set(desk.ids()), "all rows")
    desk.engine.kill("api")
    desk.page.wait_for_selector("#link[data-state=reconnecting]")
    # What is typed while the server is away is sent once it is back, once.
    desk.fill(amount="7.77")
    own = desk.place()
    desk.is_live()
    desk.until(lambda: set(desk.ids("confirmed")) >= {*ids, own}, "all are confirmed")
    known = {order_id: desk.told(order_id) for order_id in [*ids, own]}
    shown = desk.page.evaluate("window.seen")
    assert {order_id: shown[order_id] for order_id in known} == {one: len(told) for one, told in known.items()}
    for order_id in (ids[0], ids[-1], own):
        assert desk.timeline(order_id) == known[order_id]
    assert len(desk.ids()) == len(set(desk.ids()))
