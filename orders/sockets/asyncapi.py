"""The AsyncAPI description of the sockets. Its schemas are those of the OpenAPI description, or made the same way."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from drf_spectacular.generators import SchemaGenerator
from msgspec import Struct

from engine.event_kinds import KINDS
from orders.api import examples
from orders.api.components import PLACE, components, reference
from orders.api.errors import read_only
from orders.sockets import closing, messages
from orders.sockets.consumers import FIRST_MESSAGE_S
from orders.sockets.handshake import OFFER, PROTOCOL, TICKET_WITHIN_S
from orders.sockets.tail import REWOUND

Json = dict[str, Any]

ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its class, or the name of its component in the OpenAPI description, and an example."""

    kind: type[Struct] | str
    example: Any
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Socket:
    """An address: the messages the engine sends and receives there (names in MESSAGES), and its close codes."""

    address: str
    title: str
    description: str
    says: tuple[str, ...]
    closes: tuple[int, ...]
    hears: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)


def told(name: str) -> Json:
    """Return the documented example of a kind of event."""
    every: list[Json] = [event for life in examples.LIVES for event in examples.told(life)["events"]]
    return next(event for event in every if event["kind"] == name)


STREAM = (*KINDS, "rewound")
"""The messages about an order."""
QUOTE = {"venue": "METEORA", "price": "155.2", "feeBps": 20, "netPrice": "154.8896", "ageMs": 310}
PRICES = {"at": examples.AT, "quotes": [QUOTE], "best": QUOTE, "spreadBps": None, "freshMs": 2000, "staleMs": 10000}
FILL = {
    "txHash": examples.TX_HASH,
    "at": examples.AT,
    "venue": "METEORA",
    "price": "154.873333333",
    "amountIn": "1.5",
    "amountOut": "232.31",
}
STOP = {"scope": "venue", "name": "RAYDIUM", "state": "paused", "message": "RAYDIUM is paused: an upgrade"}
SNAPSHOT = {
    "kind": "snapshot",
    "pair": "SOL-USDC",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "tick": "0.01",
    "venues": ["RAYDIUM", "METEORA"],
    **PRICES,
    "levels": [{"price": "158.5", "orders": 1}, {"price": "160", "orders": 2}],
    "fills": [FILL],
    "stops": [{**STOP, "reason": "an upgrade", "since": examples.AT}],
}
NO_ORDER = {
    "error": {"code": "not_found", "message": f"there is no order {examples.ORDER_ID}", "fields": []},
}

MESSAGES: Mapping[str, Message] = {
    **{name: Message(f"{kind.__name__}Event", told(name)) for name, kind in KINDS.items()},
    ERROR: Message("Error", NO_ORDER, "What is wrong; then the socket closes, except /ws/orders."),
    "order": Message("NewOrder", examples.MARKET, "The order, as POST /api/orders/execute takes it."),
    "follow": Message(
        messages.Follow, {"follow": [{"orderId": examples.ORDER_ID, "after": 3, "epoch": 1}], "unfollow": []}
    ),
    "rewound": Message(messages.Rewound, {"orderId": examples.ORDER_ID, "rewoundTo": 2, "epoch": 2, "reason": REWOUND}),
    "followAll": Message(messages.FollowAll, {"follow": "all", "after": "4711"}),
    "unfollowAll": Message(messages.UnfollowAll, {"unfollow": "all"}),
    "following": Message(messages.Following, {"following": 1}),
    "reached": Message(messages.Reached, {"cursor": "4711"}),
    "snapshot": Message(messages.Snapshot, SNAPSHOT),
    "update": Message(messages.Update, {"kind": "update", **PRICES, "levels": [{"price": "160", "orders": 2}]}),
}

WHO = (
    "The header Authorization of the handshake, as over HTTP. A page that can set none makes a ticket with "
    f"POST /api/tickets and offers the subprotocols {PROTOCOL} and {OFFER}<ticket>, or sends "
    f'{{"ticket": "..."}} as its first message within {TICKET_WITHIN_S:g} s. The engine\'s own pages have a session.'
)
"""How a socket says who opens it."""
WHOLE = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
AFTER = {**WHOLE, "default": 0}

SOCKETS: Mapping[str, Socket] = {
    "orderEvents": Socket(
        "/ws/{orderId}",
        "One order's events",
        "Sends every event of the order from the first, then the live ones, and closes normally after the last. "
        "seq counts 1, 2, 3 ... without gaps: a client that reconnects with the seq and the epoch of the last event it "
        "saw gets exactly what it missed. If Redis lost events before they were saved, `rewoundTo` is sent first. "
        "Messages from the client are ignored.",
        (*STREAM, ERROR),
        (closing.DONE, closing.FAILED, closing.UNAVAILABLE, closing.BAD_REQUEST, closing.UNKNOWN),
        parameters={"orderId": "The id of an accepted order."},
        query={
            "after": {**AFTER, "description": "The seq of the last event the client has seen."},
            "epoch": {**WHOLE, "description": "Its epoch; without it some events may be repeated, after a rewoundTo."},
        },
    ),
    "placeAndStream": Socket(
        "/api/orders/execute",
        "Place an order and stream its events",
        f"The first message, sent within {FIRST_MESSAGE_S:g} s, places the order; its events follow. A second message "
        "is answered with an error and changes nothing. A client that is disconnected continues at /ws/{orderId}.",
        (*STREAM, ERROR),
        (
            closing.DONE,
            closing.FAILED,
            closing.UNAVAILABLE,
            closing.BAD_REQUEST,
            closing.CONFLICT,
            closing.REJECTED,
            closing.LIMITED,
        ),
        hears=("order",),
    ),
    "orders": Socket(
        "/ws/orders",
        "Many orders on one socket",
        "Sends the events of every order that the client names, each once and in order. Each message of the client is "
        "answered with the number of followed orders. The socket stays open when an order ends; an unknown order or a "
        "wrong message is answered with an error. followAll sends the events of all orders of the caller, in sequence "
        "order by order; the cursor of a reached message, sent with the next followAll, resumes after what came before "
        "it. Events past it may come again.",
        (*STREAM, "following", "reached", ERROR),
        (closing.FAILED, closing.UNAVAILABLE, closing.BAD_REQUEST),
        hears=("follow", "followAll", "unfollowAll"),
    ),
    "quotes": Socket(
        "/ws/quotes/{pair}",
        "One pair's market",
        "Sends the pair's full state, then changes, and at least every few seconds the prices with their ages. "
        "A slow client gets the latest state and no backlog. Messages from the client are ignored.",
        ("snapshot", "update", ERROR),
        (closing.FAILED, closing.UNAVAILABLE, closing.UNKNOWN),
        parameters={"pair": "A pair of GET /api/pairs, such as SOL-USDC."},
    ),
}


@read_only
def described(request: HttpRequest) -> JsonResponse:
    """Serve the description, with the requested host as its server."""
    return JsonResponse(document(request.get_host(), secure=request.is_secure()))


def document(host: str, *, secure: bool) -> Json:
    """Return the description of the sockets at a host."""
    server = {
        "host": host,
        "protocol": "wss" if secure else "ws",
        "description": "This engine.",
        "security": [{"$ref": "#/components/securitySchemes/apiKey"}],
    }
    return {**unplaced(), "servers": {"engine": server}}


@cache
def unplaced() -> Json:
    """Return the description without its servers."""
    payloads, schemas = resolved()
    about = settings.SPECTACULAR_SETTINGS
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"{about['TITLE']}: WebSockets",
            "version": about["VERSION"],
            "description": "Every message is one JSON object in a text frame. The HTTP API is described at /api/docs/.",
            "externalDocs": {"url": "/api/docs/", "description": "The HTTP API"},
        },
        "defaultContentType": "application/json",
        "channels": {name: channel(socket) for name, socket in SOCKETS.items()},
        "operations": {
            f"{verb}{name[0].upper()}{name[1:]}": operation(name, action, heard)
            for name, socket in SOCKETS.items()
            for verb, action, heard in (("send", "send", socket.says), ("receive", "receive", socket.hears))
            if heard
        },
        "components": {
            "messages": {name: message(name, payloads[name], schemas) for name in MESSAGES},
            "schemas": schemas,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": WHO}},
        },
    }


def channel(socket: Socket) -> Json:
    """Describe an address."""
    found: Json = {
        "address": socket.address,
        "title": socket.title,
        "description": socket.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in (*socket.says, *socket.hears)},
        # AsyncAPI has no place for close codes.
        "x-close-codes": {
            str(code): closing.CLOSES[code]
            for code in sorted((*socket.closes, closing.RESTARTING, closing.UNAUTHORIZED, closing.FORBIDDEN))
        },
    }
    if socket.parameters:
        found["parameters"] = {name: {"description": said} for name, said in socket.parameters.items()}
    if socket.query:
        query = {"type": "object", "properties": dict(socket.query)}
        found["bindings"] = {"ws": {"query": query, "bindingVersion": "0.1.0"}}
    return found


def operation(name: str, action: str, heard: Iterable[str]) -> Json:
    """Describe what the engine sends, or receives, at an address."""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{one}"} for one in heard],
    }


def message(name: str, payload: Json, schemas: Json) -> Json:
    """Describe a message."""
    one = MESSAGES[name]
    said = schemas[payload["$ref"].removeprefix(PLACE)].get("description", name)
    return {
        "name": name,
        "summary": one.summary or said,
        "payload": payload,
        "examples": [{"name": name, "payload": one.example}],
    }


def resolved() -> tuple[dict[str, Json], Json]:
    """Return each message's schema as a reference, and all schemas those refer to, directly or not."""
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    written = generator.get_schema(request=None, public=True)["components"]["schemas"]
    own = [one.kind for one in MESSAGES.values() if isinstance(one.kind, type)]
    known = {**components(own), **written}
    payloads = {
        name: reference(one.kind if isinstance(one.kind, str) else one.kind.__name__) for name, one in MESSAGES.items()
    }
    return payloads, {name: in_asyncapi(known[name]) for name in sorted(reachable(payloads.values(), known))}


def in_asyncapi(schema: Json) -> Json:
    """Remove the discriminator: AsyncAPI's is just a field name, and the field's values would have to name schemas."""
    return {name: said for name, said in schema.items() if name != "discriminator"}


def reachable(roots: Iterable[Any], known: Mapping[str, Any]) -> set[str]:
    """Return the names of the schemas that these refer to, directly or through others."""
    found: set[str] = set()
    waiting = [name for root in roots for name in references(root)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += references(known[name])
    return found


def references(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that one refers to directly."""
    match schema:
        case {"$ref": str(ref)}:
            yield ref.removeprefix(PLACE)
        case dict():
            for inner in schema.values():
                yield from references(inner)
        case list():
            for inner in schema:
                yield from references(inner)
