"""Many orders in one request, each with its own verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.db import DatabaseError

from orders.api.errors import FIELDS_MAX, Field, Invalid, describe, shown
from orders.api.links import acknowledgement
from orders.api.serializers import BATCH, IDEMPOTENCY_KEY, ORDERS_MAX, parse
from orders.flow.batcher import Verdict, accept_all
from orders.flow.intake import Accepted, NewOrder


def orders_of(data: Any, idempotency_key: str | None) -> list[Any]:
    """Read the body of a batch.

    Raises Invalid.
    """
    if not isinstance(data, Mapping):
        raise Invalid("the body must be a JSON object")
    wrong = [Field(shown(n) or "", shown(data[n]), "is not a field of a batch", "only orders") for n in data]
    wrong = [field for field in wrong if field.field != "orders"]
    if idempotency_key is not None:
        message = "does not apply to a batch"
        wrong.append(Field(IDEMPOTENCY_KEY, shown(idempotency_key), message, "a clientOrderId in each order"))
    orders = data.get("orders")
    if not isinstance(orders, list) or not 1 <= len(orders) <= ORDERS_MAX:
        message = f"must be {BATCH}" if "orders" in data else "is missing"
        wrong.append(Field("orders", shown(orders), message, BATCH))
    if wrong:
        raise Invalid("; ".join(f"{field.field} {field.message}" for field in wrong[:FIELDS_MAX]), wrong)
    return list(orders or ())


def place(orders: Sequence[Any], scheme: str, host: str) -> dict[str, Any]:
    """Place those that are right; return each one's verdict, in order.

    Raises DatabaseError when none of them could be written.
    """
    asked = [attempted(one) for one in orders]
    answers = async_to_sync(placed)([one for one in asked if isinstance(one, NewOrder)])
    outcomes = [answers[one.order.id] if isinstance(one, NewOrder) else one for one in asked]
    away = [outcome for outcome in outcomes if isinstance(outcome, DatabaseError)]
    if len(away) == len(outcomes):
        raise away[0]
    results = [verdict(outcome, scheme, host) for outcome in outcomes]
    accepted = sum(result["status"] == 202 for result in results)
    return {"results": results, "accepted": accepted, "refused": len(results) - accepted}


def attempted(data: Any) -> NewOrder | Invalid:
    """Turn decoded JSON into an order, or what is wrong with it."""
    try:
        return parse(data)
    except Invalid as reason:
        return reason


async def placed(asked: Sequence[NewOrder]) -> dict[str, Verdict]:
    """Place orders; return the answer to each by the id it was to have.

    Of those that share a client order id the first decides what it names, so the others come after it.
    """
    firsts = first_of_each(asked)
    leading = {one.order.id for one in firsts}
    again = [one for one in asked if one.order.id not in leading]
    answers: dict[str, Verdict] = {}
    for group in (firsts, again):
        answers |= {one.order.id: answer for one, answer in zip(group, await accept_all(group), strict=True)}
    return answers


def first_of_each(asked: Sequence[NewOrder]) -> list[NewOrder]:
    """Return the orders without those whose client order id an earlier one has."""
    firsts: dict[str, NewOrder] = {}
    for one in asked:
        firsts.setdefault(one.order.client_order_id or one.order.id, one)
    return list(firsts.values())


def verdict(outcome: Verdict | Invalid, scheme: str, host: str) -> dict[str, Any]:
    """Word what became of one order as it would be answered alone."""
    if isinstance(outcome, Accepted):
        return {"status": 202, "order": acknowledgement(outcome, scheme, host)}
    described = describe(outcome)
    assert described is not None
    status, error = described
    return {"status": status, **error}
