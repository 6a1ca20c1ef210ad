"""Requests, read by their serializers; and the wording of every refusal."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from django.db.models import Q

from engine.orders import Order, OrderType
from orders import models
from orders.api.errors import FIELDS_MAX, Field, Invalid, shown
from orders.api.rules import NEEDS, BadTerm, inapplicable, lifetime, on_the_tick, payable
from orders.api.serializers import ACCEPTED, AMENDABLE, IDEMPOTENCY_KEY, AmendSerializer, ExecuteSerializer, units_of
from orders.flow.intake import NewOrder
from orders.stores import retired
from routing.catalogue import Catalogue, catalogue


def parse(data: Any, idempotency_key: str | None, owner: int | None) -> NewOrder:
    """Turn decoded JSON into an order of this account.

    Raises Invalid, naming each field that is wrong, its value and what is accepted.
    """
    if not isinstance(data, Mapping):
        raise Invalid("the body must be a JSON object")
    asked = with_key(data, idempotency_key)
    serializer = ExecuteSerializer(data=asked, context={"owner": owner})
    errors = unfit(asked)
    if not serializer.is_valid():
        errors = {**serializer.errors, **errors}
    order: NewOrder | None = again(asked, serializer.errors, owner) if errors else serializer.validated_data["order"]
    if order is None:
        raise refusal(errors, asked, by_header="clientOrderId" in asked.keys() - data.keys())
    return order


def again(asked: Mapping[str, Any], errors: Mapping[str, Any], owner: int | None) -> NewOrder | None:
    """Return an order that is only late, if it stands already: it is sent again, however long after."""
    codes = {name: [one.code for one in told] for name, told in errors.items() if isinstance(told, list)}
    if codes != {"expiresAt": ["late"]} or "clientOrderId" not in asked or unfit(asked):
        return None
    serializer = ExecuteSerializer(data=asked, context={"late": True, "owner": owner})
    if not serializer.is_valid():
        return None
    order: NewOrder = serializer.validated_data["order"]
    named = {"client_order_id": asked["clientOrderId"], "fingerprint": order.fingerprint}
    hot = models.Order.objects.filter(Q(owner=owner) | Q(owner=None), **named)
    there = hot.exists() or retired.is_known(owner=owner, **named)
    return order if there else None


def unfit(asked: Mapping[str, Any]) -> dict[str, list[str]]:
    """Tell, by the type of an order alone, which fields it cannot have and which it lacks."""
    errors = {name: ["is not a field of an order"] for name in sorted(set(asked) - set(ACCEPTED))}
    if (kind := asked.get("type")) in list(OrderType):
        wrong = ((name, inapplicable(name, OrderType(kind))) for name in asked)
        errors |= {name: [message] for name, message in wrong if message}
        if (needed := NEEDS.get(OrderType(kind), "type")) not in asked:
            errors[needed] = [f"is required for a {kind} order"]
    return errors


def amendment(order: Order, data: Any) -> dict[str, Any]:
    """Turn decoded JSON into what is to be changed of an order, by the engine's names.

    Raises Invalid, naming each field that is wrong, its value and what is accepted.
    """
    if not isinstance(data, Mapping) or not data:
        raise Invalid(f"the body must be a JSON object with at least one of: {', '.join(AMENDABLE)}")
    serializer = AmendSerializer(data=data)
    errors = unamendable(order.type, data)
    if not serializer.is_valid():
        errors = {**serializer.errors, **errors}
    if not errors:
        try:
            return changes(order, serializer.validated_data)
        except BadTerm as reason:
            errors = {reason.field: [reason.message]}
    raise refusal(errors, data, AMENDABLE)


def unamendable(kind: OrderType, data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Tell which fields an amendment of an order of this type cannot have."""
    errors = {}
    for name in data:
        if name not in ACCEPTED:
            errors[name] = ["is not a field of an order"]
        elif message := inapplicable(name, kind):
            errors[name] = [message]
        elif name not in AMENDABLE:
            errors[name] = ["cannot be amended"]
    return errors


def changes(order: Order, good: Mapping[str, Any]) -> dict[str, Any]:
    """Turn fields that are right, each for itself, into changes that fit the order.

    Raises BadTerm.
    """
    found: dict[str, Any] = {}
    if "amount" in good:
        found["amount_in"] = units_of(good["amount"], order.pair.token_in)
    if "limitPrice" in good:
        found["limit_price"] = on_the_tick(good["limitPrice"], order.pair)
    if "maxPrice" in good:
        found["max_price"] = good["maxPrice"]
    if "expiresAt" in good:
        found["expires_at"] = good["expiresAt"]
        found["time_in_force"] = lifetime(None, good["expiresAt"], order.type)
    payable(replace(order, **found), next(name for name in ("limitPrice", "maxPrice", *good) if name in good))
    return found


def with_key(data: Mapping[str, Any], idempotency_key: str | None) -> dict[str, Any]:
    """Let the Idempotency-Key header stand for clientOrderId.

    Raises Invalid when both are given and differ.
    """
    if idempotency_key is None:
        return dict(data)
    if data.get("clientOrderId", idempotency_key) != idempotency_key:
        message = "differs from clientOrderId"
        wrong = Field(IDEMPOTENCY_KEY, shown(idempotency_key), message, "one of the two, or the same value in both")
        raise Invalid(f"{IDEMPOTENCY_KEY} {message}", [wrong])
    return {**data, "clientOrderId": idempotency_key}


def refusal(
    errors: Mapping[str, Any],
    data: Mapping[str, Any],
    only: Collection[str] = tuple(ACCEPTED),
    *,
    by_header: bool = False,
) -> Invalid:
    """Word a serializer's errors in the one error shape; an id that came as the header is the header's mistake.

    `only` are the fields there could have been.
    """
    called = {"clientOrderId": IDEMPOTENCY_KEY} if by_header else {}
    fields = [
        Field(shown(called.get(name, name)) or "", shown(data.get(name)), str(told[0]), accepted(name, data, only))
        for name, told in list(errors.items())[:FIELDS_MAX]
    ]
    return Invalid("; ".join(f"{field.field} {field.message}" for field in fields), fields)


def accepted(name: str, data: Mapping[str, Any], only: Collection[str]) -> str:
    """Say what a field accepts; for tokens, name them."""
    known = ACCEPTED[name] if name in only else f"only {', '.join(only)}"
    if name == "tokenOut" and (bought := buyable(catalogue(), data.get("tokenIn"))):
        return f"{known}; with {data['tokenIn']}: {', '.join(bought)}"
    return f"{known}; symbols: {', '.join(catalogue().symbols())}" if name in ("tokenIn", "tokenOut") else known


def buyable(known: Catalogue, token_in: Any) -> list[str]:
    """Name the tokens that can be bought with this one; none when it is no token."""
    sold = known.tokens.get(token_in) if isinstance(token_in, str) else None
    return sorted(pair.token_out.symbol for pair in known.active.values() if pair.token_in == sold)
