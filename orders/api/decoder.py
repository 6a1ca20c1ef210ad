"""The one decoder: whatever door an order comes through, its JSON becomes an order here.

Nearly all orders are correct, and the serializer's own fields read them on the event loop, without the rest of DRF,
which costs ten times as much.  The serializer has the last word on all others, and words their refusals; it may have to
ask Postgres, so it runs on a thread.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from rest_framework.serializers import ValidationError

from engine.orders import OrderType
from orders.api.errors import Invalid
from orders.api.parsers import loads
from orders.api.requests import parse, with_key
from orders.api.rules import NEEDS, BadTerm, inapplicable, may_be_bought
from orders.api.serializers import ExecuteSerializer, new_order
from orders.flow.batcher import Overloaded, batcher
from orders.flow.intake import NewOrder
from routing.catalogue import Catalogue, catalogue

AT_ONCE_MAX = 16 * 1024
"""Size of the largest text that is read on the event loop: about a millisecond's work."""
DECODED_WITHIN_S = 5.0
"""How long decoding on the thread may take, including loading the catalogue if that is needed first."""
WAITING_MAX = 512 * 1024
"""Size of all texts that may wait for the thread: about two seconds' work on a small machine under other load."""

READ = {
    name: field.to_internal_value
    for name, field in ExecuteSerializer().fields.items()
    # It is compared with the store's clock, which may have to be read first.
    if name != "expiresAt"
}
"""How the fields of a correct order are read."""
ALWAYS = ("type", "tokenIn", "tokenOut", "amount")
NEEDED = {str(kind): {*ALWAYS, NEEDS.get(kind, "type")} for kind in OrderType}
ALLOWED = {str(kind): {name for name in READ if not inapplicable(name, kind)} for kind in OrderType}

Given = tuple[Any, str | None]
"""Decoded JSON of one order, and the key that stands for its client order id."""
Split = Callable[[Any, str | None], Sequence[Given]]
"""Finds the orders in the JSON of a request, given the request's key."""


def one(data: Any, key: str | None) -> Sequence[Given]:
    """The JSON is one order."""
    return ((data, key),)


class Decoder:
    """Decodes on the event loop what can be, and the rest on the thread that reads beside the batcher."""

    waiting = 0
    """Size of the texts that wait for the thread."""

    async def decode(
        self, text: bytes | str, key: str | None, split: Split, owner: int | None
    ) -> Sequence[NewOrder | Invalid]:
        """Return each order of an account's request, or why it is none.

        Raises Invalid if the request as a whole is wrong, Overloaded, Late, or the database's error.
        """
        known = catalogue.recent()
        if known and len(text) <= AT_ONCE_MAX:
            found = [plain(data, key, known, owner) for data, key in split(loads(text), key)]
            if None not in found:
                return cast(list[NewOrder], found)
        if self.waiting + len(text) > WAITING_MAX:
            raise Overloaded
        self.waiting += len(text)
        try:
            return await batcher().beside.run(DECODED_WITHIN_S, decode, text, key, split, owner)
        finally:
            self.waiting -= len(text)


decoder = Decoder()


def decode(text: bytes | str, key: str | None, split: Split, owner: int | None) -> Sequence[NewOrder | Invalid]:
    """Decode a request by the serializer where its orders are not plain.

    Raises Invalid, DatabaseError.
    """
    return [attempted(data, key, owner) for data, key in split(loads(text), key)]


def attempted(data: Any, key: str | None, owner: int | None) -> NewOrder | Invalid:
    try:
        return plain(data, key, catalogue(), owner) or parse(data, key, owner)
    except Invalid as reason:
        return reason


def plain(data: Any, key: str | None, known: Catalogue, owner: int | None) -> NewOrder | None:
    """Return the order that correct JSON asks for; None where the serializer has the word.

    Raises Invalid if the key contradicts the order.
    """
    if not isinstance(data, Mapping):
        return None
    asked = data if key is None else with_key(data, key)
    kind = asked.get("type")
    if not isinstance(kind, str) or kind not in NEEDED or not NEEDED[kind] <= asked.keys() <= ALLOWED[kind]:
        return None
    try:
        good = {name: READ[name](value) for name, value in asked.items()}
        if good["tokenIn"] in known.tokens and may_be_bought(known, good["tokenOut"], kind):
            return new_order(known, good, owner)
    except (ValidationError, BadTerm):
        pass
    return None
