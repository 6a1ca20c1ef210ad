"""The HTML page that shows the description of the sockets, rendered here and without scripts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from orders.api.components import PLACE
from orders.api.errors import read_only
from orders.sockets import asyncapi

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a message; the name includes the fields that enclose it."""

    name: str
    type: str
    needed: bool
    said: str


@read_only
def sockets(request: HttpRequest) -> HttpResponse:
    """Show the sockets with their messages and close codes."""
    shown = asyncapi.document(request.get_host(), secure=request.is_secure())
    response = render(request, "api/sockets.html", page(shown))
    response["Content-Security-Policy"] = POLICY
    return response


def page(shown: Json) -> dict[str, Any]:
    """Arrange the description for the template: addresses with their messages, then each message once."""
    server = shown["servers"]["engine"]
    schemas = shown["components"]["schemas"]
    return {
        "info": shown["info"],
        "base": f"{server['protocol']}://{server['host']}",
        "channels": [laid_out(name, one, shown) for name, one in shown["channels"].items()],
        "messages": [
            {
                "name": name,
                "summary": one["summary"],
                "rows": list(rows(one["payload"], schemas)),
                "example": json.dumps(one["examples"][0]["payload"], indent=2, ensure_ascii=False),
            }
            for name, one in shown["components"]["messages"].items()
        ],
    }


def laid_out(name: str, channel: Json, shown: Json) -> dict[str, Any]:
    """Arrange an address for the template."""
    there = [one for one in shown["operations"].values() if one["channel"]["$ref"] == f"#/channels/{name}"]
    query = channel.get("bindings", {}).get("ws", {}).get("query", {}).get("properties", {})
    return {
        **channel,
        "name": name,
        "query": {one: f"{typed(schema, {})}; {schema['description']}" for one, schema in query.items()},
        "says": named(there, "send"),
        "hears": named(there, "receive"),
        "closes": channel["x-close-codes"],
    }


def named(operations: list[Any], action: str) -> list[str]:
    """Return the names of the messages of one direction."""
    return [
        one["$ref"].rpartition("/")[2] for found in operations if found["action"] == action for one in found["messages"]
    ]


def rows(schema: Json, schemas: Json, within: str = "") -> Iterator[Row]:
    """Yield every field of an object, then those of the objects within it."""
    found = followed(schema, schemas)
    for name, inner in found.get("properties", {}).items():
        said = inner.get("description", "")
        yield Row(f"{within}{name}", typed(inner, schemas), name in found.get("required", ()), said)
        yield from within_it(inner, schemas, f"{within}{name}")


def within_it(schema: Json, schemas: Json, name: str) -> Iterator[Row]:
    """Yield the fields of an object, of a list's items, or of each alternative of a `oneOf`."""
    found = followed(schema, schemas)
    if found.get("type") == "array":
        yield from within_it(found["items"], schemas, f"{name}[]")
        return
    yield from rows(found, schemas, f"{name}.")
    for one in found.get("oneOf", ()):
        yield from within_it(one, schemas, name)


def followed(schema: Json, schemas: Json) -> Json:
    """Return the schema that this one refers to, or itself if it refers to none."""
    (only,) = schema["allOf"] if len(schema.get("allOf", ())) == 1 else (schema,)
    if "$ref" in only:
        return followed(schemas[only["$ref"].removeprefix(PLACE)], schemas)
    return only


def typed(schema: Json, schemas: Json) -> str:
    """Describe a field's type in a few words."""
    found = followed(schema, schemas)
    if "const" in found:
        return f'"{found["const"]}"'
    if "enum" in found:
        return " or ".join(f'"{one}"' for one in found["enum"])
    if "oneOf" in found:
        return " or ".join(dict.fromkeys(typed(one, schemas) for one in found["oneOf"]))
    kind = found.get("type", "object")
    kinds = [kind] if isinstance(kind, str) else kind
    words = [found.get("format", one) if one == "string" else one for one in kinds]
    return " or ".join(f"list of {typed(found['items'], schemas)}" if one == "array" else one for one in words)
