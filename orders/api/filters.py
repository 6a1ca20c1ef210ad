"""Choosing orders by query parameters; every parameter that is not understood is refused, never ignored."""

# ruff: noqa: N815 - parameters are spelled as clients send them

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import django_filters
import django_filters.fields
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict

from engine.lifecycle import Status
from engine.orders import CLIENT_ORDER_ID_MAX, OrderType
from orders.api.errors import Field, Invalid, shown
from orders.api.fields import CLIENT_ORDER_ID, RFC_3339
from orders.models import Order, standing_at
from orders.stores import ids
from routing.catalogue import UnknownPair, catalogue
from routing.models import PAIR_MAX

PAIR_SCHEMA = {
    "type": "string",
    "pattern": r"^[^/\x00-\x1f-]+-[^/\x00-\x1f]+$",
    "minLength": 3,
    "maxLength": PAIR_MAX,
    "examples": ["SOL-USDC"],
}
"""A directed pair by its tokens' symbols; the second by its mint while it is not listed."""


class Moment(django_filters.fields.IsoDateTimeField):  # type: ignore[misc]
    """A time in UTC: Postgres knows no offset as far as 23:59."""

    def clean(self, value: Any) -> datetime | None:
        """Read a time, if one is given; of the many ways to write one, that of RFC 3339 alone says which it is."""
        if value is not None and not RFC_3339.match(value):
            raise ValidationError("is not an RFC 3339 time with a UTC offset")
        try:
            given = super().clean(value and value.upper())
        except ValidationError:
            raise ValidationError("is not a valid time") from None
        try:
            return given.astimezone(UTC) if given else None
        except OverflowError:
            raise ValidationError("is outside the range of dates") from None


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Compares the time of creation with a Moment.

    Ids sort by time, so a range of them keeps Postgres from walking through all orders there are.
    """

    field_class = Moment
    nearest = {"gte": ("pk__gte", ids.first_since), "lt": ("pk__lt", ids.first_past)}

    def filter(self, found: QuerySet[Order], at: datetime | None) -> QuerySet[Order]:
        """Keep orders on the asked side of a time, if one is given."""
        if at is None:
            return found
        bound, nearest = self.nearest[self.lookup_expr]
        return found.filter(**{f"{self.field_name}__{self.lookup_expr}": at, bound: nearest(at)})


class PairName(forms.CharField):
    """A pair an order may have: of the catalogue, or by the mint of a token that was not listed."""

    def clean(self, value: Any) -> str:
        """Read a name, if one is given."""
        name: str = super().clean(value)
        try:
            if name:
                catalogue().pair(name)
        except UnknownPair:
            raise ValidationError("is not a pair this engine trades") from None
        return name


class PairFilter(django_filters.CharFilter):  # type: ignore[misc]
    """Compares with a PairName."""

    field_class = PairName


class ClientOrderId(forms.RegexField):
    """A name that an order can have."""

    def __init__(self, **more: Any) -> None:
        super().__init__(CLIENT_ORDER_ID, error_messages={"invalid": "is not the name of an order"}, **more)


class ClientOrderIdFilter(django_filters.CharFilter):  # type: ignore[misc]
    """Compares with a ClientOrderId."""

    field_class = ClientOrderId


class OrderFilter(django_filters.FilterSet):  # type: ignore[misc]
    """By status, type, pair, client order id and time of creation."""

    status = django_filters.MultipleChoiceFilter(
        choices=[(s, s) for s in Status], error_messages={"invalid_choice": "is not a status"}, method="by_status"
    )
    type = django_filters.ChoiceFilter(
        choices=[(kind, kind) for kind in OrderType], error_messages={"invalid_choice": "is not an order type"}
    )
    pair = PairFilter()
    clientOrderId = ClientOrderIdFilter(field_name="client_order_id")
    createdAfter = MomentFilter(field_name="created_at", lookup_expr="gte")
    createdBefore = MomentFilter(field_name="created_at", lookup_expr="lt")

    def by_status(self, found: QuerySet[Order], _: str, statuses: Sequence[str]) -> QuerySet[Order]:
        """Keep orders of these statuses, if any is given."""
        return found.filter(standing_at(statuses)) if statuses else found

    @classmethod
    def chosen(cls, parameters: Any) -> QuerySet[Order]:
        """Return the orders asked for.

        Raises Invalid.
        """
        chosen = cls(parameters, queryset=Order.objects.all())
        if not chosen.is_valid():
            fields = [wrong(name, messages, parameters) for name, messages in chosen.errors.items()]
            raise Invalid("; ".join(f"{one.field}: {one.message}; accepted: {one.accepted}" for one in fields), fields)
        found: QuerySet[Order] = chosen.qs
        return found


ACCEPTED = {
    "status": f"any of: {', '.join(Status)}; repeat the parameter for several",
    "type": f"one of: {', '.join(OrderType)}",
    "pair": "a pair such as SOL-USDC; GET /api/pairs lists them",
    "clientOrderId": f"1 to {CLIENT_ORDER_ID_MAX} letters, digits and . _ : -",
    "createdAfter": "an RFC 3339 time such as 2026-01-31T12:00:00Z",
    "createdBefore": "an RFC 3339 time such as 2026-01-31T12:00:00Z",
    "limit": "a whole number from 1 to 200",
    "cursor": "the cursor of a `next` or `previous` link",
    "format": "json or csv; by `Accept` if omitted",
}
FORMATS = ("json", "csv")
OF_PAGES = ("limit", "cursor")
REPEATED = ("status",)
"""Parameters of which several values may be given."""


def wrong(name: str, messages: Any, parameters: Mapping[str, Any]) -> Field:
    """Say what is wrong with one parameter."""
    return Field(name, shown(parameters.get(name)), str(messages[0]), ACCEPTED[name])


def refuse_unknown(parameters: QueryDict, accepted: Collection[str] = tuple(ACCEPTED)) -> None:
    """Refuse parameters nobody reads, and values of which nothing could be read.

    Raises Invalid.
    """
    unknown = sorted(set(parameters) - set(accepted))
    if unknown:
        only = f"only {', '.join(accepted)}" if accepted else "none"
        fields = [Field(shown(name) or "", shown(parameters[name]), "is not a parameter", only) for name in unknown]
        raise Invalid(f"unknown parameter {fields[0].field}", fields)
    for name, given in parameters.lists():
        if problem := unreadable(name, given):
            message, accepts = problem
            raise Invalid(f"{name} {message}", [Field(name, shown(given[-1]), message, accepts)])


def refuse_format(parameters: QueryDict, is_csv: bool) -> None:
    """Refuse a format that orders are not written in, and what asks for a page of what has none.

    Raises Invalid.
    """
    asked = parameters.get("format")
    if asked not in (None, *FORMATS):
        raise Invalid(f"format {UNKNOWN_FORMAT}", [Field("format", shown(asked), UNKNOWN_FORMAT, ACCEPTED["format"])])
    if is_csv and (given := [name for name in OF_PAGES if name in parameters]):
        fields = [Field(name, shown(parameters[name]), NO_PAGES, "JSON only; CSV has all orders") for name in given]
        raise Invalid(f"{fields[0].field} {NO_PAGES}", fields)


UNKNOWN_FORMAT = "is not a format of this list"
NO_PAGES = "does not apply to a list as CSV"


def unreadable(name: str, given: Sequence[str]) -> tuple[str, str] | None:
    """Say what is wrong with a parameter's values whatever it means, and what is accepted."""
    if any("\0" in value for value in given):
        return "contains a NUL character", "text without it"
    if not all(given):
        return "is empty", f"a value, or omit the parameter; {ACCEPTED[name]}" if name in ACCEPTED else "a value"
    if len(given) > 1 and name not in REPEATED:
        return "is given more than once", "one value"
    return None


EVERY_PAIR = "*"
CANCELLED_PAIR = f"{ACCEPTED['pair']}; {EVERY_PAIR} for every pair"
KINDS = {kind.value: kind for kind in OrderType if kind is not OrderType.MARKET}
"""Types of order that wait."""


def pair_and_type(parameters: QueryDict) -> tuple[str, OrderType | None]:
    """Read whose orders are meant: a pair's or EVERY_PAIR's, of one type that waits or of all.

    Raises Invalid; whoever cancels says exactly what.
    """
    wrong = [one for name in ("pair", "type") if (one := unclear(name, parameters.getlist(name)))]
    if wrong:
        raise Invalid("; ".join(f"{field.field} {field.message}" for field in wrong), wrong)
    return str(parameters["pair"]), KINDS.get(str(parameters.get("type")))


def unclear(name: str, given: Sequence[str]) -> Field | None:
    """Say what is wrong with one of the parameters that choose what is cancelled."""
    accepted = CANCELLED_PAIR if name == "pair" else f"one of: {', '.join(KINDS)}; both if omitted"
    if len(given) > 1:
        return Field(name, shown(given[-1]), "is given more than once", accepted)
    if name == "type":
        bad = given and given[0] not in KINDS
        return Field(name, shown(given[0]), "is not a type of order that waits", accepted) if bad else None
    if not given:
        return Field(name, None, "is missing", accepted)
    try:
        if given[0] != EVERY_PAIR:
            catalogue().pair(given[0])
    except UnknownPair:
        return Field(name, shown(given[0]), "is not a pair this engine trades", accepted)
    return None
