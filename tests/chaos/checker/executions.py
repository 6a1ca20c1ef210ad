"""The chain's ledger against orders and attempts: once, for a confirmed order, on the terms in force."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

from tests.chaos.checker.terms import Terms, history, in_force
from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import Execution, Json, Row, World, facts, price_of, units

PRICE_DIGITS = Fraction(1, 10**9)
"""How far a stated price may be from the exact one, relatively: prices have 12 digits."""


def check(world: World, verdict: Verdict) -> None:
    """Judge every execution, and every order that claims one."""
    landed = by_order(world)
    for order_id, executions in landed.items():
        if len(executions) > 1:
            memos = [one.memo for one in executions]
            verdict.add("executed_twice", order_id, f"{len(executions)} executions landed: {memos}")
        row = world.rows.get(order_id)
        if row is None or row.status != "confirmed":
            status = row.status if row else "missing"
            verdict.add("executed_unconfirmed", order_id, f"landed as {executions[0].memo}, the order is {status}")
    for row in world.rows.values():
        if row.status == "confirmed":
            confirmed(world, row, landed.get(row.id, []), verdict)
    for order_id, executions in landed.items():
        for one in executions:
            on_terms(world, order_id, one, verdict)
    attempts(world, verdict)


def by_order(world: World) -> dict[str, list[Execution]]:
    """Return what landed of each order."""
    landed: dict[str, list[Execution]] = defaultdict(list)
    for one in world.executions:
        if one.landing == "landed":
            landed[one.order_id].append(one)
    return landed


def confirmed(world: World, row: Row, executions: list[Execution], verdict: Verdict) -> None:
    """Compare what a confirmed order states with what the chain executed."""
    if not executions:
        verdict.add("confirmed_unexecuted", row.id, "confirmed, and the ledger has no execution of it")
        return
    events = world.events.get(row.id, [])
    told = facts(events[-1]) if events and events[-1]["status"] == "confirmed" else row.result
    for name, value, true in stated(world, row, told, executions[0]):
        if value != true:
            verdict.add("confirmed_otherwise", row.id, f"{name} is stated as {value}, the ledger has {true}")
            return


def stated(world: World, row: Row, told: Json, one: Execution) -> list[tuple[str, object, object]]:
    """Pair what is stated with what is true."""
    sold, bought = decimals = world.tokens(row.pair)
    exact = price_of(one.amount_in, one.amount_out, decimals)
    shown = Fraction(Decimal(told.get("executedPrice", "0")))
    return [
        ("txHash", told.get("txHash"), one.signature),
        ("venue", told.get("venue"), one.venue),
        ("slot", told.get("slot"), one.slot),
        ("amountIn", units(told.get("amountIn", 0), sold), one.amount_in),
        ("amountOut", units(told.get("amountOut", 0), bought), one.amount_out),
        ("networkFeeLamports", told.get("fees", {}).get("networkFeeLamports"), one.fee_lamports),
        ("executedPrice", float(exact if abs(shown - exact) <= exact * PRICE_DIGITS else shown), float(exact)),
    ]


def on_terms(world: World, order_id: str, one: Execution, verdict: Verdict) -> None:
    """Judge an execution by the terms in force; an amendment that was accepted later would have been wrong itself."""
    row, events = world.rows.get(order_id), history(world, order_id)
    if row is None or not events:
        return
    terms, decimals = in_force(events), world.tokens(row.pair)
    if told := otherwise(one, terms, decimals):
        verdict.add("stale_terms", order_id, f"{one.memo} {told}")
    if worse := below(one, terms, decimals):
        verdict.add("below_limit", order_id, f"{one.memo}: {worse}")


def otherwise(one: Execution, terms: Terms, decimals: tuple[int, int]) -> str:
    """Say how the amounts of a fill are not those of its order's terms; nothing when they are."""
    limit, sold = units(terms.amount, decimals[0]), Decimal(one.amount_in).scaleb(-decimals[0])
    if terms.amount_out is None:
        return "" if one.amount_in == limit else f"sold {sold}, the terms in force say {terms.amount}"
    if one.amount_out != units(terms.amount_out, decimals[1]):
        bought = Decimal(one.amount_out).scaleb(-decimals[1])
        return f"bought {bought}, the terms in force say exactly {terms.amount_out}"
    return "" if one.amount_in <= limit else f"sold {sold}, the terms in force allow {terms.amount}"


def below(one: Execution, terms: Terms, decimals: tuple[int, int]) -> str:
    """Say how a fill is worse than its order's price; nothing when it is not."""
    price = price_of(one.amount_in, one.amount_out, decimals)
    if terms.limit_price is not None and price < Fraction(terms.limit_price):
        return f"filled at {float(price):.9g}, the limit is {terms.limit_price}"
    if terms.max_price is not None and price and 1 / price > Fraction(terms.max_price):
        return f"filled at {float(1 / price):.9g}, the dearest is {terms.max_price}"
    if one.amount_out < one.minimum_out:
        return f"paid {one.amount_out}, the transaction's own least is {one.minimum_out}"
    if one.maximum_in is not None and one.amount_in > one.maximum_in:
        return f"took {one.amount_in}, the transaction's own most is {one.maximum_in}"
    if one.maximum_in is None and terms.amount_out is not None:
        return "its transaction does not bound what it takes"
    return ""


def attempts(world: World, verdict: Verdict) -> None:
    """Compare every transaction the chain executed with the attempt that was committed for it."""
    known = {attempt.signature: attempt for made in world.attempts.values() for attempt in made}
    executed = {one.signature: one for one in world.executions}
    for signature, one in executed.items():
        attempt = known.get(signature)
        if attempt is None or attempt.order_id != one.order_id:
            verdict.add(
                "executed_without_attempt", one.order_id, f"{one.memo} {one.landing}, {signature} is no attempt"
            )
        elif attempt.state != one.landing:
            says = f"{one.memo} {one.landing} on the chain, its attempt is {attempt.state}"
            verdict.add("attempt_contradicts_chain", one.order_id, says)
    for signature, attempt in known.items():
        if attempt.state in ("landed", "rejected") and signature not in executed:
            says = f"attempt {attempt.number} is {attempt.state}, the chain knows nothing of it"
            verdict.add("attempt_contradicts_chain", attempt.order_id, says)
