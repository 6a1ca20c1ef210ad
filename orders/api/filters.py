"""Choosing orders by query parameters; every parameter that is not understood is refused, never ignored."""

from collections.abc import Collection, Mapping
from typing import Any

import django_filters
from django.db.models import QuerySet

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.api.errors import Field, Invalid, shown
from orders.models import Order

PAGING = ("cursor", "limit")


class OrderFilter(django_filters.FilterSet):
    """By status, type, pair and time of creation."""

    status = django_filters.MultipleChoiceFilter(choices=[(s, s) for s in Status])
    type = django_filters.ChoiceFilter(choices=[(kind, kind) for kind in OrderType])
    pair = django_filters.CharFilter(max_length=40)
    createdAfter = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    createdBefore = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    @classmethod
    def chosen(cls, parameters: Any) -> QuerySet[Order]:
        """Return the orders asked for.

        Raises Invalid.
        """
        chosen = cls(parameters, queryset=Order.objects.all())
        if not chosen.is_valid():
            raise Invalid("a filter is wrong", [wrong(name, messages, parameters) for name, messages in chosen.errors.items()])
        found: QuerySet[Order] = chosen.qs
        return found


ACCEPTED = {
    "status": f"any of: {', '.join(Status)}; repeat the parameter for several",
    "type": f"one of: {', '.join(OrderType)}",
    "pair": "a pair such as SOL-USDC",
    "createdAfter": "an RFC 3339 time such as 2026-01-31T12:00:00Z",
    "createdBefore": "an RFC 3339 time such as 2026-01-31T12:00:00Z",
    "limit": "a whole number from 1 to 200",
    "cursor": "the cursor of a `next` or `previous` link",
}


def wrong(name: str, messages: Any, parameters: Mapping[str, Any]) -> Field:
    """Say what is wrong with one parameter."""
    return Field(name, shown(parameters.get(name)), str(messages[0]), ACCEPTED[name])


def refuse_unknown(parameters: Mapping[str, Any], accepted: Collection[str] = tuple(ACCEPTED)) -> None:
    """Refuse parameters nobody reads.

    Raises Invalid.
    """
    unknown = sorted(set(parameters) - set(accepted))
    if unknown:
        only = f"only {', '.join(accepted)}"
        fields = [Field(shown(name) or "", shown(parameters[name]), "is not a parameter", only) for name in unknown]
        raise Invalid(f"unknown parameter {fields[0].field}", fields)
    for name, value in parameters.items():
        if "\0" in value:
            raise Invalid(f"{name} holds a NUL character", [Field(name, shown(value), "holds a NUL character", "text without it")])
