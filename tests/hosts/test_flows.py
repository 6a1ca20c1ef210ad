"""Orders on hosts of their own: placed at one API host, seen to their end over a socket at the other."""

import json

import httpx
import pytest
from websockets.sync.client import connect

from tests.hosts.placing import LIMIT, MARKET, SNIPER

pytestmark = pytest.mark.system

CARRIED = ["routing", "building", "submitted", "confirmed"]


def streamed(engine, url: str, order_id: str) -> list[dict[str, object]]:
    """Return all events of an order from its socket."""
    with connect(
        f"{url.replace('http', 'ws', 1)}/ws/{order_id}", additional_headers=engine.headers, proxy=None
    ) as socket:
        return [json.loads(message) for message in socket]


@pytest.mark.parametrize(("placed_at", "seen_at"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("order", [MARKET, LIMIT, SNIPER], ids=lambda order: order["type"])
def test_an_order_placed_at_one_host_is_seen_to_its_end_at_the_other(engine, order, placed_at, seen_at):
    answer = httpx.post(
        f"{engine.apis[placed_at]}/api/orders/execute", json=order, headers=engine.headers, trust_env=False
    )
    assert answer.status_code == 202, answer.text
    engine.placed += 1
    order_id = answer.json()["orderId"]
    events = streamed(engine, engine.apis[seen_at], order_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    statuses = [event["status"] for event in events]
    assert statuses[0] == "pending"
    assert ("triggered" in statuses) == (order["type"] != "market")
    assert statuses[-4:] == CARRIED, events
    shown = httpx.get(f"{engine.apis[seen_at]}/api/orders/{order_id}", headers=engine.headers, trust_env=False).json()
    assert shown["status"] == "confirmed"


def test_every_role_runs_on_two_hosts_of_which_each_has_its_own_name_and_address(engine):
    hosts = [host for both in engine.hosts.values() for host in both]
    assert len(hosts) == 2 * 8
    assert len({host.address for host in hosts}) == len(hosts)
    heard = [str(name).split()[1].rpartition("-")[0] for name in engine.redis().zrange("workers:alive", 0, -1)]
    assert set(heard) >= {f"{role}{n}" for role in engine.hosts if role not in ("api", "beat") for n in (1, 2)}
    assert len(engine.beating()) == 1
