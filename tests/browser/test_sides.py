"""Buying and selling: one market, prices in quote per base on either side, and an exact amount in what is sent."""

from decimal import Decimal

import pytest
from solders.keypair import Keypair

pytestmark = pytest.mark.system

SOL, USDC = Decimal("1e-9"), Decimal("1e-6")


def order_of(desk, order_id):
    """Return an order as the API has it."""
    return desk.http.get(f"/api/orders/{order_id}").json()


def cancelled(desk, order_id):
    """Cancel an order that rests, as the API has it before."""
    found = order_of(desk, order_id)
    desk.http.delete(f"/api/orders/{order_id}")
    return found


def choose(desk, unit):
    """Choose the token in which a buy's amount is typed."""
    desk.page.locator("fieldset.small label", has_text=unit).click()


def limit_of(row):
    """Return the price that a row of a buy limit order shows."""
    terms = row.locator(".c-what small").inner_text()
    return float(terms.removeprefix("buy limit at ")) if terms.startswith("buy limit at ") else 0.0


def sent(desk):
    """Return the amount that the note at the field says is spent."""
    note = desk.until(lambda: desk.text("#amount-note"), "what is spent")
    return Decimal(note.removeprefix("Spends ").partition(" ")[0])


def test_base_tokens_are_bought_for_an_exact_amount_and_the_fill_says_so(desk):
    desk.side("Buy")
    desk.fill(amount="250.5")
    desk.until(lambda: "SOL" in desk.text("#estimate .strong"), "the estimate")
    assert 140 < float(desk.page.locator("#estimate div", has_text="Price").locator("dd").inner_text()) < 170
    order_id = desk.place()
    row = desk.ends(order_id, "confirmed")
    found = order_of(desk, order_id)
    assert (found["pair"], found["amount"]) == ("USDC-SOL", "250.5")
    bought = desk.page.locator("#live .toast", has_text="Bought").locator("span").inner_text()
    amount, price = bought.removeprefix("Bought ").split(" SOL for 250.5 USDC at ")
    assert Decimal(amount) == Decimal(found["result"]["amountOut"])
    assert 140 < float(price.partition(",")[0]) < 170
    assert 140 < float(row.locator(".c-price span").inner_text()) < 170
    assert row.locator(".c-what").inner_text().split("\n") == ["SOL-USDC", "buy market"]
    desk.until(lambda: desk.page.locator("#fills tr[data-side=buy]").count(), "it is listed as a buy")


def test_an_amount_typed_in_base_tokens_is_converted_and_the_page_says_what_is_spent(desk):
    desk.choose("limit")
    desk.side("Buy")
    choose(desk, "SOL")
    desk.fill(amount="2", limitPrice="125")
    assert sent(desk) == 250
    assert "for about 2 SOL at 125" in desk.text("#amount-note")
    assert (desk.text("#verb"), desk.text("#sold")) == ("Buy about", "SOL")
    desk.fill(limitPrice="120")
    desk.until(lambda: sent(desk) == 240, "at the limit price it is this")
    found = cancelled(desk, desk.place())
    assert (found["tokenIn"], found["amount"]) == ("USDC", "240")


def shown(desk, name):
    """Return the amount in a row of the estimate, once there is one."""
    row = desk.page.locator("#estimate div", has_text=name).locator("dd")
    return Decimal(desk.until(lambda: row.count() and row.inner_text().partition(" ")[0].strip("\N{EN DASH}"), name))


PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True}


@pytest.mark.parametrize("look", [{}, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    ("side", "amount", "pair", "says", "told"),
    [
        ("Buy", "1.25", "USDC-SOL", "Buy exactly 1.25 SOL", "Bought 1.25 SOL for "),
        ("Sell", "77.5", "SOL-USDC", "Sell SOL for exactly 77.5 USDC", " SOL for 77.5 USDC at "),
    ],
)
def test_an_exact_amount_is_received_for_no_more_than_was_shown(opened, look, side, amount, pair, says, told):
    with opened(**look) as desk:
        sold, bought = pair.split("-")
        desk.side(side)
        choose(desk, "Receive")
        desk.fill(amount=amount)
        assert (desk.text("#verb"), desk.text("#sold")) == ("Receive exactly", bought)
        assert desk.text("#place") == says
        assert not desk.page.get_by_role("button", name="50 %").is_visible()
        about, most = shown(desk, "You spend about"), shown(desk, "At most")
        assert Decimal("1.004") < most / about < Decimal("1.006")
        assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing overflows"
        ended = place_until_filled(desk, amount)
        outcome = f"market order, exactly {amount} {bought} for at most {ended['amount']} {sold}."
        desk.until(lambda: desk.text("#outcome") == f"Confirmed: {outcome}", "its outcome")
        assert ended["pair"] == pair and Decimal(ended["result"]["amountOut"]) == Decimal(amount)
        assert Decimal(ended["result"]["amountIn"]) <= Decimal(ended["amount"])
        row = desk.row(ended["orderId"])
        assert f"exactly {amount} {bought}" in row.locator(".c-what small").inner_text()
        assert row.locator(".c-amount").inner_text().split("\n")[1] == sold
        desk.page.locator("#live .toast", has_text=told).first.wait_for()


def place_until_filled(desk, amount):
    """Place what is on the ticket; again, if the price turned for the worse before it was routed."""

    def filled():
        desk.fill(amount=amount)
        shown(desk, "At most")
        order_id = desk.place()
        found = desk.until(
            lambda: (one := order_of(desk, order_id))["status"] in ("confirmed", "failed") and one, "an end"
        )
        assert found["status"] == "confirmed" or found["result"]["code"] == "maximum_exceeded", found
        return found["status"] == "confirmed" and found

    return desk.until(filled, "a fill")


def test_what_to_receive_is_chosen_with_the_keyboard_and_keeps_its_worth(desk):
    desk.fill(amount="2")
    desk.page.locator("#order input[name=mode]:checked").focus()
    desk.page.keyboard.press("ArrowRight")
    assert (desk.text("#verb"), desk.text("#sold")) == ("Receive exactly", "USDC")
    assert 280 < float(desk.page.input_value("#amount")) < 340
    desk.page.keyboard.press("Tab")
    assert desk.page.evaluate("document.activeElement.id") == "amount"
    desk.choose("limit")
    assert (desk.text("#verb"), desk.text("#sold")) == ("Sell", "SOL")
    # The tide may have turned in between.
    assert 1.8 < float(desk.page.input_value("#amount")) < 2.2


def test_an_exact_amount_that_is_none_or_beyond_the_balance_is_refused_at_the_ticket(desk):
    desk.expected = ("status of 400",)
    desk.side("Buy")
    choose(desk, "Receive")
    desk.fill(amount="-1")
    desk.until(lambda: desk.text("#amount-error"), "the refusal at the field")
    desk.fill(amount="0.0000000001")
    desk.until(lambda: "smallest amount is 0.000000001" in desk.text("#amount-error"), "its unit is that of SOL")
    free = next(one["available"] for one in desk.http.get("/api/balances").json()["results"] if one["token"] == "USDC")
    desk.fill(amount=str(int(float(free)) // 100))
    desk.until(lambda: desk.page.get_attribute("#place", "aria-disabled") == "true", "it cannot be placed")


def test_flipping_the_side_keeps_what_the_amount_is_worth(desk):
    desk.fill(amount="2")
    desk.until(lambda: desk.text("#estimate .strong").endswith("USDC"), "an estimate")
    desk.side("Buy")
    spent = Decimal(desk.page.input_value("#amount"))
    assert 280 < spent < 340
    desk.until(lambda: desk.text("#estimate .strong").endswith("SOL"), "an estimate of the other side")
    desk.side("Sell")
    # The tide may have turned in between.
    assert 1.8 < float(desk.page.input_value("#amount")) < 2.2


@pytest.mark.parametrize("price", ["120", "123.45", "99.99"])
def test_a_buy_limit_is_typed_in_quote_per_base_and_never_pays_more(desk, price):
    desk.choose("limit")
    desk.side("Buy")
    desk.fill(amount="30", limitPrice=price)
    assert desk.text("#priced") == "USDC per SOL"
    order_id = desk.place()
    row = desk.row(order_id)
    desk.until(lambda: float(price) * 0.9999 < limit_of(row) <= float(price), "its price")
    desk.until(lambda: "away" in row.locator(".c-price").inner_text(), "its distance")
    assert row.locator(".c-price small").inner_text().startswith("\N{MINUS SIGN}")
    desk.until(lambda: desk.page.locator("#levels tr[data-side=buy]").count(), "its level")
    found = cancelled(desk, order_id)
    limit = Decimal(found["limitPrice"])
    tick = Decimal("0.0000001")
    assert 1 / limit <= Decimal(price) < 1 / (limit - tick)
    desk.ends(order_id, "cancelled")


def test_a_buy_limit_is_amended_in_the_same_unit(desk):
    desk.choose("limit")
    desk.side("Buy")
    desk.fill(amount="31", limitPrice="110")
    order_id = desk.place()
    row = desk.row(order_id)
    row.get_by_role("button", name="Amend").click()
    row.locator("input[name=limitPrice]").fill("112")
    row.get_by_role("button", name="Save").click()
    desk.until(lambda: 111.9 < limit_of(row) <= 112, "the new price")
    assert Decimal("111.9") < 1 / Decimal(cancelled(desk, order_id)["limitPrice"]) <= 112


def test_a_limit_price_is_set_by_its_distance_on_the_better_side(desk):
    desk.choose("limit")
    best = float(desk.text("#best"))
    desk.page.get_by_role("button", name="+2 %").click()
    above = float(desk.page.input_value("#limitPrice"))
    assert best * 1.02 * 0.93 < above < best * 1.02 * 1.08
    desk.side("Buy")
    desk.page.get_by_role("button", name="\N{MINUS SIGN}5 %").click()
    assert float(desk.page.input_value("#limitPrice")) < above
    desk.page.get_by_role("group", name="Slippage in bps").get_by_role("button", name="100").click()
    assert desk.page.input_value("#slippageBps") == "100"


def test_half_a_token_may_be_typed_without_its_zero(desk):
    desk.fill(amount=".5")
    desk.until(lambda: desk.text("#estimate .strong").endswith("USDC"), "the estimate")
    assert order_of(desk, desk.place())["amount"] == "0.5"


def test_the_smallest_amount_is_written_out(desk):
    desk.expected = ("status of 400",)
    desk.fill(amount="0.0000000001")
    desk.until(lambda: "smallest amount is 0.000000001" in desk.text("#amount-error"), "the refusal")


def test_a_token_to_snipe_is_found_by_its_symbol_or_its_mint(desk):
    desk.choose("sniper")
    offered = desk.page.eval_on_selector_all("#tokens option", "all => all.map(one => [one.value, one.textContent])")
    known = {
        one["tokenOut"]["symbol"]: one["tokenOut"]["mint"] for one in desk.http.get("/api/pairs").json()["results"]
    }
    assert ["WIF", known["WIF"]] in offered
    desk.fill(tokenOut=known["WIF"], amount="0.5")
    desk.until(lambda: "Token check" in desk.text("#estimate"), "it is found by its mint")
    desk.fill(tokenOut=str(Keypair().pubkey()))
    refused = "As things are it would be refused when it fires: token facts unknown."
    desk.until(lambda: desk.text("#problem") == refused, "what would become of an unknown token")
    desk.fill(tokenOut="wif")
    desk.until(lambda: "Token\nlisted" in desk.text("#estimate"), "it is found in small letters")


def test_the_venues_figures_are_of_the_side_of_the_ticket_and_say_so(desk):
    def labels():
        return desk.page.locator(".ticks dt:has(.faced)").all_inner_texts()

    def wins(lead):
        shown = "[...document.querySelectorAll('.ticks .wins dd')].map(one => one.textContent)"
        return desk.page.evaluate(f"{shown}.includes(document.querySelector('{lead}').textContent)")

    assert labels() == ["Raydium sell", "Meteora sell", "Gap sell"]
    assert desk.text("#chart-title") == "Selling SOL: price after fee"
    desk.until(lambda: wins("#best"), "the better venue has the price at which is sold")
    desk.side("Buy")
    assert labels() == ["Raydium buy", "Meteora buy", "Gap buy"]
    desk.until(lambda: wins("#ask"), "the better venue has the price at which is bought")
    for venue in ("RAYDIUM", "METEORA"):
        title = desk.page.locator(f".ticks div:has(#quote-{venue})").get_attribute("title")
        assert title.startswith(f"Buying on {venue}, after its fee; quote ") and title.endswith(" old")


def test_keys_choose_the_side_and_a_list_names_them(desk):
    desk.page.keyboard.press("b")
    assert desk.page.evaluate("document.activeElement.id") == "amount"
    desk.page.keyboard.type("12")
    assert desk.text("#verb") == "Spend"
    desk.page.keyboard.press("Escape")
    desk.page.keyboard.press("s")
    assert desk.text("#verb") == "Sell"
    desk.page.keyboard.press("Escape")
    desk.page.keyboard.press("/")
    assert desk.page.evaluate("document.activeElement.id") == "tokenOut"
    desk.page.keyboard.press("Escape")
    desk.page.keyboard.press("?")
    dialog = desk.page.get_by_role("dialog", name="Keyboard shortcuts")
    dialog.wait_for()
    assert [one.inner_text() for one in dialog.locator("kbd").all()] == ["b", "s", "/", "Enter", "Esc", "?"]
    desk.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


def test_nothing_of_the_sniper_ticket_is_covered_on_a_laptop(desk):
    desk.choose("sniper")
    desk.fill(tokenOut="WIF", amount="0.5")
    desk.until(lambda: "Token check" in desk.text("#estimate"), "the estimate")
    covered = desk.page.eval_on_selector_all(
        "#order input:not([type=radio]), #order select, #order dd, #place",
        """all => all.filter(one => one.offsetParent).filter(one => {
          const { x, y, width, height } = one.getBoundingClientRect();
          const top = document.elementFromPoint(x + width / 2, y + height / 2);
          return top !== one && !one.contains(top) && !top?.contains(one);
        }).map(one => one.id || one.name || one.textContent)""",
    )
    assert covered == []
    assert (
        desk.page.evaluate("(one => one.scrollHeight - one.clientHeight)(document.querySelector('#order .fields'))")
        <= 0
    )
