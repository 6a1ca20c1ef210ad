"""Orders of every type, placed and watched on the desk by what a person sees."""

import csv
import re
from pathlib import Path

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
    assert row.locator(".c-price small").inner_text().endswith(("worse", "better", "as quoted"))
    assert desk.timeline(order_id) == desk.told(order_id)
    assert "landed in slot" in row.locator(".attempts").inner_text()
    spent = row.locator(".line small").all_inner_texts()
    assert spent == row.locator(".timeline li > small").all_inner_texts(), "the same times in row and timeline"
    assert spent[-1].startswith("total ")
    told = row.locator(".timeline").inner_text()
    assert re.search(r"Expects [0-9.]+ USDC, accepts no less than [0-9.]+ USDC\.", told)
    assert re.search(r"Got [0-9.]+ USDC at [0-9.]+ USDC per SOL, .*\. Venue fee [0-9.]+ SOL;", told)
    assert "network fee 5,000 lamports, paid by the engine." in told
    desk.until(lambda: "Sold 1.5 SOL for" in desk.page.locator("#live").inner_text(), "it is spoken")


def test_a_limit_order_is_a_line_on_the_chart_and_fires_when_the_price_crosses_it(opened):
    # In the dark the colours of a resting limit and of a fill are no other's.
    with opened(color_scheme="dark") as desk:
        desk.until(lambda: desk.pixels("--limit") == 0, "no line yet")
        fills = desk.pixels("--sell")
        desk.choose("limit")
        # Just above the tide: the line can be looked at for as long as this takes.
        desk.fill(amount="2", limitPrice="162")
        order_id = desk.place()
        desk.until(lambda: desk.pixels("--limit") > 0, "the line")
        assert desk.ids("confirmed").count(order_id) == 0
        row = desk.row(order_id)
        row.get_by_role("button", name="Amend").click()
        row.locator("input[name=limitPrice]").fill("155")
        row.get_by_role("button", name="Save").click()
        desk.ends(order_id, "confirmed")
        assert desk.stages(order_id) == all_done(WAITING_LIFE)
        assert float(row.locator(".c-price span").inner_text()) >= 155
        assert "reached 155" in row.locator(".timeline").inner_text()
        desk.until(lambda: desk.pixels("--limit") == 0, "the line goes")
        desk.until(lambda: desk.pixels("--sell") > fills, "the fill")


def test_a_sniper_order_waits_for_its_token_and_buys_it(desk):
    mint = str(Keypair().pubkey())
    desk.choose("sniper")
    desk.fill(tokenOut=mint, amount="0.5")
    desk.until(lambda: "not listed yet" in desk.text("#estimate"), "what is known of it")
    desk.page.locator("#order label", has_text="its pools are worth").click()
    order_id = desk.place()
    desk.until(lambda: desk.row(order_id).get_attribute("data-status") == "pending", "it waits")
    desk.row(order_id).locator(".toggle").click()
    desk.until(lambda: desk.row(order_id).locator(".c-price small").inner_text() == "0 of 2 met", "how far it is")
    waits = desk.row(order_id).locator(".waits tbody tr").evaluate_all("all => all.map(one => one.innerText)")
    assert waits == ["launch\t0 pools\tnot met", "liquidity\t0 of 50,000 USD\tnot met"]
    launched = desk.engine.manage("sandbox", "launch", "--mint", mint, "--symbol", "NOVA", "--liquidity", "50000")
    assert launched.returncode == 0, launched.stderr
    row = desk.ends(order_id, "confirmed")
    assert desk.stages(order_id) == all_done(WAITING_LIFE)
    assert not row.locator(".waits").is_visible()
    assert "token checks passed" in row.locator(".timeline").inner_text()


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
    desk.until(lambda: "has changed" in row.locator(".amend").inner_text(), "the refusal")
    desk.until(lambda: "at 320" in row.locator(".c-what").inner_text(), "what it is now")
    desk.http.delete(f"/api/orders/{order_id}")


def test_what_is_wrong_is_said_at_its_field_in_the_words_of_the_api(desk):
    desk.expected = REFUSED
    desk.choose("limit")
    desk.fill(amount="1", limitPrice="155.005")
    desk.until(lambda: "is not on the tick of 0.01" in desk.text("#limitPrice-error"), "the tick, before it is sent")
    desk.fill(amount="-1", slippageBps="9999")
    desk.until(lambda: desk.text("#slippageBps-error"), "the refusal")
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
        assert f"{field['message']}." in desk.text("#problem"), "at the button, too"
    assert desk.page.get_attribute("#place", "aria-disabled") == "true"
    before = desk.ids()
    desk.page.keyboard.press("Enter")
    wrong = "document.activeElement.getAttribute('aria-invalid') === 'true'"
    desk.until(lambda: desk.page.evaluate(wrong), "the wrong field is gone to")
    assert desk.ids() == before and desk.text("#outcome") == ""
    desk.fill(amount="1", limitPrice="900", slippageBps="0.3")
    desk.until(lambda: desk.text("#problem") == "Slippage must be whole basis points: 0.3 % is 30.", "percent are none")
    desk.fill(slippageBps="30")
    assert desk.text("label[for=slippageBps]") == "Slippage, bps = 0.3 %"
    desk.until(lambda: not desk.text("#amount-error") and not desk.text("#problem"), "the error goes")
    assert desk.page.get_attribute("#place", "aria-disabled") == "false"


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
    with desk.page.expect_download() as download:
        desk.page.get_by_role("link", name="Export CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        assert [row["orderId"] for row in csv.DictReader(file)] == desk.ids()
    desk.page.select_option("#by-type", "sniper")
    desk.until(lambda: desk.ids() == [], "none")
    assert desk.text("#empty") == "No orders match these filters."


def test_a_full_list_still_takes_every_order_that_comes(desk):
    def post(count):
        orders = [{"type": "market", "tokenIn": "USDC", "tokenOut": "JUP", "amount": "3"}] * 50
        answers = [desk.http.post("/api/orders/batch", json={"orders": orders}).json() for _ in range(count // 50)]
        return {one["order"]["orderId"] for answer in answers for one in answer["results"]}

    post(950)
    desk.until(lambda: len(desk.ids()) == 900, "the list is full")
    newest = post(150)
    desk.until(lambda: newest <= set(desk.ids()), "all of the new ones")
    assert len(desk.ids()) <= 900


def test_what_is_wrong_with_an_amendment_is_said_at_its_field(desk):
    desk.expected = REFUSED
    order_id = desk.post(type="limit", tokenIn="SOL", tokenOut="USDC", amount="1", limitPrice="330")
    row = desk.row(order_id)
    row.get_by_role("button", name="Amend").click()
    row.locator("input[name=limitPrice]").fill("330.001")
    row.get_by_role("button", name="Save").click()
    error = row.locator(f"#amend-{order_id}-limitPrice-error")
    desk.until(lambda: "is not on the tick of 0.01" in error.inner_text(), "the refusal")
    assert row.locator("input[name=limitPrice]").get_attribute("aria-describedby") == error.get_attribute("id")
    desk.page.keyboard.press("Escape")
    row.get_by_role("button", name="Cancel").click()
    desk.ends(order_id, "cancelled")


def test_each_attempt_is_shown_with_its_signature_its_venue_and_how_it_ended(opened, scene):
    order_id = scene.tried_again()
    events = scene.events(order_id)
    sent = [event for event in events if event["status"] == "submitted"]
    assert len(sent) > 1
    outcomes = [event["retry"]["message"] for event in events if event.get("retry")]
    with opened(on=scene.engine) as desk:
        desk.find(order_id)
        desk.timeline(order_id)
        shown = (
            desk.row(order_id)
            .locator(".attempts tbody tr")
            .evaluate_all("all => all.map(row => [...row.cells].map(cell => cell.textContent))")
        )
    assert [row[:3] for row in shown] == [[str(one["attempt"]), one["venue"], one["txHash"]] for one in sent]
    assert [row[-1] for row in shown] == [*outcomes, f"landed in slot {events[-1]['slot']}"]
