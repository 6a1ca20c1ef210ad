"""The description as drf-spectacular cannot make it by itself: closed objects, an order by its type, and links."""

from collections.abc import Iterator, Mapping
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from engine.orders import OrderType, TimeInForce
from orders.api import request_ids
from orders.api.rules import NEEDS, inapplicable
from orders.api.serializers import ExecuteSerializer

Json = dict[str, Any]

SNIPER_LIVES = [TimeInForce.GTC.value, TimeInForce.GTD.value]

ONE_ORDER = ("get_order", "amend_order", "cancel_order", "get_order_events")
"""Operations on one order, by their ids."""
LINKS: Mapping[tuple[str, str], tuple[str, str, tuple[str, ...]]] = {
    ("execute_order", "202"): ("order_id", "$response.body#/orderId", ONE_ORDER),
    ("execute_batch", "200"): ("order_id", "$response.body#/results/0/order/orderId", ONE_ORDER),
    ("list_orders", "200"): ("order_id", "$response.body#/results/0/orderId", ONE_ORDER),
    ("get_order", "200"): ("order_id", "$response.body#/orderId", ONE_ORDER),
    ("amend_order", "200"): ("order_id", "$response.body#/orderId", ONE_ORDER),
    ("list_pairs", "200"): ("pair", "$response.body#/results/0/pair", ("get_quotes", "cancel_orders")),
}
"""Where an answer leads: by operation and status the parameter it holds, where it stands, and whom it is for."""
KNOWN_STATE = {"execute_order": '"1"', "get_order": "$response.header.ETag", "amend_order": "$response.header.ETag"}
"""The If-Match that goes with an order in the answer of an operation."""


RETRY_AFTER = {"description": "Seconds after which to try again.", "required": True, "schema": {"type": "integer"}}
VERSION = {
    "description": "The version of this API.",
    "required": True,
    "schema": {"type": "string", "pattern": r"^1\.[0-9]+\.[0-9]+$"},
}
REQUEST_ID = {
    "description": "The request's id: the one that the client sent, if it fits, else a new one.  The log has it.",
    "required": True,
    "schema": {"type": "string", "pattern": request_ids.PATTERN},
}


TAGS = {
    "/api/orders": "orders",
    "/api/events": "orders",
    "/api/webhooks": "webhooks",
    "/api/tickets": "access",
    "/api/": "market",
    "/": "operations",
}
"""Groups of operations, by the beginnings of their paths; the first that fits applies."""


class Described(AutoSchema):
    """Describes operations: objects have the fields that are named and no others."""

    def get_operation(self, *whatever: Any) -> Json | None:
        """Add that a body must be there, and what each answer leads to."""
        operation: Json = super().get_operation(*whatever) or {}
        if "requestBody" in operation:
            operation["requestBody"]["required"] = True
        for status, answer in operation.get("responses", {}).items():
            headers = answer.setdefault("headers", {})
            headers |= {"X-Request-Id": REQUEST_ID, "API-Version": VERSION}
            if status in ("429", "503"):
                headers["Retry-After"] = RETRY_AFTER
            if links := dict(linked(operation["operationId"], status)):
                answer["links"] = links
        return operation or None

    def get_tags(self) -> list[str]:
        """Group operations by what they are about."""
        return [next(tag for beginning, tag in TAGS.items() if self.path.startswith(beginning))]

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Json:
        """Close objects."""
        found: Json = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        found["additionalProperties"] = False
        if isinstance(serializer, ExecuteSerializer):
            return self.by_type(found)
        if not found.get("required"):
            found["minProperties"] = 1
        return found

    def by_type(self, whole: Json) -> Json:
        """Describe an order by its type: each has its own fields, by the rules that orders are judged by."""
        named = {kind: f"{kind.capitalize()}Order" for kind in OrderType}
        for kind, name in named.items():
            component = ResolvedComponent(  # type: ignore[no-untyped-call]
                name, ResolvedComponent.SCHEMA, of_type(whole, kind), name
            )
            self.registry.register_on_missing(component)
        references = {kind.value: f"#/components/schemas/{name}" for kind, name in named.items()}
        return {
            "oneOf": [{"$ref": reference} for reference in references.values()],
            "discriminator": {"propertyName": "type", "mapping": references},
            "description": whole["description"],
        }


def linked(operation: str, status: str) -> Iterator[tuple[str, Json]]:
    """Yield the links of an answer by their names."""
    if (operation, status) not in LINKS:
        return
    parameter, where, targets = LINKS[operation, status]
    for target in targets:
        # A link to itself says nothing.
        if target == operation and target != "amend_order":
            continue
        parameters = {parameter: where}
        if target == "amend_order":
            if operation not in KNOWN_STATE:
                continue
            parameters["If-Match"] = KNOWN_STATE[operation]
        yield target, {"operationId": target, "parameters": parameters}


def of_type(whole: Json, kind: OrderType) -> Json:
    """Narrow the description of any order to those of one type."""
    fields = {name: said for name, said in whole["properties"].items() if inapplicable(name, kind) is None}
    # Generators for TypeScript take what has a default for what must be sent; the text says what is assumed.
    properties = {name: {key: said[key] for key in said if key != "default"} for name, said in fields.items()}
    properties["type"] = {"type": "string", "const": kind.value, "description": properties["type"]["description"]}
    if kind is OrderType.SNIPER:
        properties["timeInForce"] = {**properties["timeInForce"], "enum": SNIPER_LIVES}
    needed = [NEEDS[kind]] if kind in NEEDS else []
    return {
        "type": "object",
        "description": f"A {kind} order to execute.",
        "properties": properties,
        "required": [*whole["required"], *needed],
        "additionalProperties": False,
        **(EXPIRY if "expiresAt" in properties else {}),
    }


EXPIRY: Json = {
    "dependentSchemas": {"expiresAt": {"properties": {"timeInForce": {"const": TimeInForce.GTD.value}}}},
    "if": {"properties": {"timeInForce": {"const": TimeInForce.GTD.value}}, "required": ["timeInForce"]},
    "then": {"required": ["expiresAt"]},
}
"""An order until some time says until when, and no other does."""
