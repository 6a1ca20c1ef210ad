"""The checker reads a run as it was: rows that the engine wrote, and the journals of clients."""

import json

from django.db import connection
from psycopg.conninfo import make_conninfo

from tests.chaos.checker import journal, records
from tests.chaos.checker.judge import judge
from tests.chaos.checker.world import World


def address() -> str:
    """Where the tests' database is."""
    facts = connection.settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    return make_conninfo(**{name: str(facts[key]) for name, key in names.items()})


def write(folder, lines):
    (folder / journal.CLIENTS).write_text("".join(json.dumps({"t": 2.0, **line}) + "\n" for line in lines) + '{"k":')


def test_an_order_that_the_engine_carried_to_its_end_is_read_whole(bench, tmp_path):
    bench.quote_all()
    (order_id,) = bench.place(client_order_id="mine")
    bench.run([order_id])
    bench.archive()
    events = bench.events(order_id)
    asked = {"type": "market", "amount": "1.5", "clientOrderId": "mine"}
    common = {"follower": "socket", "order": order_id}
    last = events[-1]
    shown = {name: last[name] for name in ("orderId", "seq", "status", "attempt")} | {
        "updatedAt": last["at"],
        "epoch": last.get("epoch", 0),
        "result": {name: last[name] for name in list(last)[list(last).index("attempt") + 1 :]},
        **{"amount": "1.5", "amountOut": None, "limitPrice": None, "maxPrice": None, "expiresAt": None},
    }
    write(
        tmp_path,
        [
            {"k": "post", "asked": asked, "status": 202, "body": {"orderId": order_id}, "from": 1.0},
            {"k": "follow", **common},
            *({"k": "told", **common, "message": event} for event in events),
            {"k": "events", "order": order_id, "body": {"events": events}},
            {"k": "order", "order": order_id, "body": shown},
            {"k": "best", "pair": "SOL-USDC", "price": "150"},
            {"k": "calm_over", "t": 9e9},
        ],
    )
    world = World()
    records.read(address(), world)
    journal.read(tmp_path, world)
    assert list(world.rows) == [order_id] and world.rows[order_id].amount_in == 1_500_000_000
    assert [one.memo for one in world.executions] == [f"{order_id}:1"]
    assert world.attempts[order_id][0].state == "landed"
    assert world.decimals["SOL"] == 9
    assert judge(world).as_dict() == {}
    assert len(world.stories["socket", order_id]) == len(events)
