"""The OpenAPI components of what clients are told, derived from its classes: events, answers, messages of sockets."""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any

from drf_spectacular.plumbing import ResolvedComponent
from msgspec import Struct
from msgspec.json import schema_components

from engine.event_kinds import KINDS, Facts, Head, Pending
from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from orders.api.answers import ANSWERS
from orders.api.fields import CONDITION_SCHEMAS, LIST_SCHEMA
from orders.api.filters import PAIR_SCHEMA
from orders.api.market import MARKET
from orders.api.webhook_answers import WEBHOOKS
from routing.venues import VENUES

Json = dict[str, Any]

PLACE = "#/components/schemas/"
NAMED: Mapping[str, Json] = {
    "Venue": {"type": "string", "enum": list(VENUES)},
    "PairName": PAIR_SCHEMA,
    "Conditions": LIST_SCHEMA,
    **{kind.__name__: {"type": "string", "enum": list(kind)} for kind in (OrderType, TimeInForce, Status)},
}
"""Schemas of texts whose values are known here and not in their class."""


def reference(name: str) -> Json:
    """Refer to a component."""
    return {"$ref": PLACE + name}


def components(kinds: Iterable[type[Struct]]) -> dict[str, Json]:
    """Describe classes, and those within them."""
    _, found = schema_components(kinds, ref_template=f"{PLACE}{{name}}")
    return {name: tidy(schema) for name, schema in found.items() if name not in NAMED}


def event_components() -> dict[str, Json]:
    """Describe every kind of event and an order's result after it, and `Event` and `Result`, which are any of them."""
    found = components([Head, *KINDS.values()])
    head = found.pop("Head")
    for one in KINDS.values():
        facts = found.pop(one.__name__)
        found[f"{one.__name__}Event"] = joined(head, one, facts)
        found[f"{one.__name__}Result"] = facts | {"required": ["kind"]} if one is Pending else facts
    for name in ("Event", "Result"):
        found[name] = one_of({kind: f"{one.__name__}{name}" for kind, one in KINDS.items()})
    # Said here: beside a reference it would keep generators from telling the kinds apart.
    found["Result"]["description"] = "Kind and facts of an order's last event; of `pending` it may be the kind alone."
    return found


def one_of(names: Mapping[str, str]) -> Json:
    """Describe what is one of these components, told apart by its kind."""
    return {
        "oneOf": [reference(name) for name in names.values()],
        "discriminator": {"propertyName": "kind", "mapping": {kind: PLACE + name for kind, name in names.items()}},
    }


def joined(head: Json, kind: type[Facts], facts: Json) -> Json:
    """Describe an event of one kind: the fields of all, and its own."""
    told = {**head["properties"], "status": {"type": "string", "const": kind.status.value}}
    return {
        **facts,
        "properties": told | facts["properties"],
        "required": sorted({*head["required"], *facts["required"]}),
    }


def with_components(result: Json, generator: Any, **_: Any) -> Json:
    """Add what clients are told to a generated description; drf-spectacular calls this."""
    found = components((*ANSWERS, *MARKET, *WEBHOOKS)) | event_components() | CONDITION_SCHEMAS
    for name, schema in found.items():
        generator.registry.register(ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, name))  # type: ignore[no-untyped-call]
    result["components"]["schemas"] |= found
    return result


def tidy(schema: Json) -> Json:
    """Write one schema as clients' tools like it: in place of a title what it names, and no default of null."""
    schema = {name: value for name, value in schema.items() if name != "title"} | NAMED.get(schema.get("title", ""), {})
    if "description" in schema:
        schema["description"] = cleandoc(schema["description"])
    if "anyOf" in schema:
        schema = either(schema)
    if "$ref" in schema:
        return referring(schema)
    if "enum" in schema:
        schema.setdefault("type", "integer" if isinstance(schema["enum"][0], int) else "string")
    if "properties" in schema:
        schema["properties"] = {name: one(name, inner) for name, inner in schema["properties"].items()}
        schema["required"] = sorted(schema.get("required", ()))
    for place in ("items", "additionalProperties"):
        if isinstance(schema.get(place), dict):
            schema[place] = tidy(schema[place])
    return schema


def one(name: str, schema: Json) -> Json:
    """Write the schema of one property.  One that has a default is left out instead, and so never null."""
    if "default" in schema:
        given = [other for other in schema.get("anyOf", ()) if other != {"type": "null"}]
        schema = {key: value for key, value in schema.items() if key not in ("default", "anyOf")}
        schema = {**(given[0] if given else {}), **schema}
    if name == "kind" and len(schema.get("enum", ())) == 1:
        return {"type": "string", "const": schema["enum"][0]}
    return tidy(schema)


def either(schema: Json) -> Json:
    """Write alternatives: of one that may be null the type says so."""
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "discriminator")}
    others = [tidy(other) for other in schema["anyOf"] if other != {"type": "null"}]
    if len(others) == len(schema["anyOf"]):
        return {"oneOf": others, **rest}
    (other,) = others
    if "type" not in other:
        return {"oneOf": [other, {"type": "null"}], **rest}
    if "enum" in other:
        other = {**other, "enum": [*other["enum"], None]}
    return {**other, "type": [other["type"], "null"], **rest}


def referring(schema: Json) -> Json:
    """Write a reference; what is said beside it would be ignored by some."""
    name = schema.pop("$ref")
    target = NAMED.get(name.removeprefix(PLACE)) or {"$ref": name}
    if "$ref" in target and schema:
        return {"allOf": [target], **schema}
    return {**target, **schema}
