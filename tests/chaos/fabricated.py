"""A tiny run in which everything went well, made by hand: what the checker is tried on."""

from datetime import UTC, datetime
from decimal import Decimal

from tests.chaos.checker.world import Answer, Attempt, Execution, Json, Row, Told, World

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
IDS = tuple(f"{n}0000000-0000-7000-8000-000000000000" for n in range(1, 8))
MARKET, CANCELLED, AMENDED, RESTING, ARMED, EXPIRED, EXACT = IDS
LIFE = ("routing", "building", "submitted")


def clean() -> World:
    """Return a world of seven orders with nothing wrong."""
    world = World(decimals={"SOL": 9, "USDC": 6, "WIF": 6}, calm_over=NOW.timestamp())
    world.best["SOL-USDC"] = [(world.calm_over - 60 + second, Decimal(150)) for second in range(60)]
    place(world, MARKET, {"type": "market", "amount": "1.5"}, [*LIFE, "confirmed"])
    place(world, EXACT, {"type": "market", "amount": "1.5", "amountOut": "165"}, [*LIFE, "confirmed"])
    place(world, CANCELLED, {"type": "limit", "amount": "2", "limitPrice": "160"}, ["cancelled"])
    cancel(world, CANCELLED)
    place(
        world,
        AMENDED,
        {"type": "limit", "amount": "2", "limitPrice": "160"},
        ["pending", "triggered", *LIFE, "confirmed"],
    )
    amend(world, AMENDED)
    place(world, RESTING, {"type": "limit", "amount": "2", "limitPrice": "160"}, [])
    armed = {"type": "sniper", "amount": "2", "trigger": [{"kind": "liquidity", "atLeast": "900000000000"}]}
    place(world, ARMED, {**armed, "pair": "SOL-WIF"}, [])
    timed = {"timeInForce": "gtd", "expiresAt": "2026-01-01T11:59:30.000Z"}
    place(world, EXPIRED, {"type": "limit", "amount": "2", "limitPrice": "160", **timed}, ["expired"])
    tell_all(world)
    return world


def place(world: World, order_id: str, asked: Json, then: list[str]) -> None:
    """Put an order into the world: accepted, brought through these statuses, and executed if it is confirmed."""
    pair = asked.get("pair", "SOL-USDC")
    asked = {**asked, "clientOrderId": f"name-{order_id[0]}"}
    events = [
        event(order_id, seq, status, asked if seq == 1 else {}) for seq, status in enumerate(["pending", *then], 1)
    ]
    world.posts.append(Answer("POST", asked, 202, {"orderId": order_id}, 1.0, 2.0))
    limit = asked.get("limitPrice")
    expires_at = datetime.fromisoformat(asked["expiresAt"]) if "expiresAt" in asked else None
    world.rows[order_id] = Row(
        order_id,
        asked["type"],
        pair,
        int(Decimal(asked["amount"]) * 10**9),
        events[-1]["status"],
        len(events),
        limit_price=limit and Decimal(limit),
        time_in_force=asked.get("timeInForce", "gtc"),
        expires_at=expires_at,
        trigger=asked.get("trigger", []),
        client_order_id=asked["clientOrderId"],
        amount_out=int(Decimal(asked["amountOut"]) * 10**6) if "amountOut" in asked else None,
    )
    world.events[order_id] = events
    if then and then[-1] == "confirmed":
        execute(world, order_id)


def event(order_id: str, seq: int, status: str, asked: Json) -> Json:
    """Make an event; the first one states what was asked."""
    stated = {name: asked[name] for name in ("type", "amountOut", "limitPrice", "expiresAt") if name in asked}
    amount = {"amountIn": asked["amount"]} if asked else {}
    at = f"2026-01-01T11:58:{seq:02}.000Z"
    return {"orderId": order_id, "epoch": 1, "seq": seq, "status": status, "at": at, "attempt": 0, **stated, **amount}


def execute(world: World, order_id: str, attempt: int = 1) -> Execution:
    """Have the chain execute an order, on the terms of its row."""
    row = world.rows[order_id]
    paid = row.amount_in * 165 // 1000
    memo, signature = f"{order_id}:{attempt}", f"signature-{order_id[0]}-{attempt}"
    one = Execution(signature, 7, "landed", paid, 5000, memo, "RAYDIUM", row.amount_in, paid - 1)
    if row.amount_out is not None:
        one.amount_in, one.amount_out, one.minimum_out = row.amount_out * 1000 // 165, row.amount_out, row.amount_out
        one.maximum_in = one.amount_in + 1
    world.executions.append(one)
    world.attempts.setdefault(order_id, []).append(Attempt(order_id, attempt, "landed", signature))
    state(world, order_id, one)
    return one


def state(world: World, order_id: str, one: Execution) -> None:
    """Have an order's confirmed event state an execution."""
    world.events[order_id][-1] |= {
        "txHash": one.signature,
        "venue": one.venue,
        "slot": one.slot,
        "amountIn": str(Decimal(one.amount_in).scaleb(-9)),
        "amountOut": str(Decimal(one.amount_out).scaleb(-6)),
        "executedPrice": "165",
        "fees": {"networkFeeLamports": one.fee_lamports},
    }


def cancel(world: World, order_id: str) -> None:
    """Have a client cancel an order, and be answered 200."""
    world.deletes.append(Answer("DELETE", {"order": order_id}, 200, {"status": "cancelled"}))


def amend(world: World, order_id: str) -> None:
    """Have a client ask for more of an order at event 2, and be answered 200; it is executed so."""
    world.patches.append(Answer("PATCH", {"order": order_id, "ifMatch": 1, "changes": {"amount": "3"}}, 200, {}))
    world.events[order_id][1]["amended"] = {"amountIn": {"from": "2", "to": "3"}}
    world.rows[order_id].amount_in = 3 * 10**9
    world.executions = [one for one in world.executions if one.order_id != order_id]
    world.attempts[order_id] = []
    execute(world, order_id)


def tell_all(world: World) -> None:
    """Have a client hear, and read, all events of every order."""
    for order_id, events in world.events.items():
        world.stories["socket", order_id] = [Told(3.0 + n, dict(one)) for n, one in enumerate(events)]
        read(world, order_id)


def read(world: World, order_id: str) -> None:
    """Have a client read an order and its events."""
    events, row = [dict(one) for one in world.events[order_id]], world.rows[order_id]
    common = ("orderId", "epoch", "seq", "status", "at", "attempt")
    world.read_events[order_id] = events
    world.read_orders[order_id] = {
        **{name: events[-1][name] for name in ("orderId", "epoch", "seq", "status", "attempt")},
        "updatedAt": events[-1]["at"],
        "result": {name: value for name, value in events[-1].items() if name not in common},
        "amount": str(Decimal(row.amount_in).scaleb(-9)),
        "amountOut": None if row.amount_out is None else str(Decimal(row.amount_out).scaleb(-6)),
        "limitPrice": row.limit_price and str(row.limit_price),
        "maxPrice": None,
        "expiresAt": events[0].get("expiresAt"),
    }
