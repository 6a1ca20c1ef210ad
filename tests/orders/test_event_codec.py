"""Events on the wire and at rest: one form for those written now, by the previous version, and in Postgres."""

import json
from decimal import Decimal

import pytest

from engine import events
from engine.event_kinds import KINDS, Failed, Head, Submitted
from engine.lifecycle import Status
from orders import models
from orders.flow import waiting
from orders.stores import event_codec, live
from orders.stores.threads import aside
from routing.store import redis
from tests.forged import forged
from tests.orders.bench import empty_redis
from tests.orders.doors import opened

ID = "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"
HEAD = Head(ID, 1, 3, Status.SUBMITTED, events.moment(1_000), 1)


def test_the_text_and_the_dict_of_an_event_are_the_same():
    facts = Submitted("METEORA", "signature", 7)
    told = event_codec.as_dict(HEAD, facts)
    assert list(json.loads(event_codec.encode(HEAD, facts)).items()) == list(told.items())
    assert list(told)[:7] == [*event_codec.COMMON, "kind"] and told["kind"] == "submitted"
    assert event_codec.dump(told) == event_codec.encode(HEAD, facts) == event_codec.current(event_codec.dump(told))


def test_a_nul_from_a_venue_is_replaced_in_any_event():
    text = event_codec.encode(HEAD, Failed("program_error", "a\0b \\u0000", False))
    assert json.loads(text)["message"] == "a\ufffdb \\u0000"


def test_each_kind_has_its_own_name_and_the_status_of_the_order():
    assert list(KINDS) == [
        *("pending", "amended", "returned", "triggered", "routing", "retry"),
        *("building", "submitted", "confirmed", "failed", "cancelled", "expired"),
    ]
    assert {kind.status for kind in KINDS.values()} == set(Status)
    assert all(kind.__struct_config__.tag == name for name, kind in KINDS.items())


@pytest.mark.parametrize(
    ("status", "facts", "kind"),
    [
        ("pending", {"type": "market"}, "pending"),
        ("pending", {"amended": {}}, "amended"),
        ("pending", {"returned": {}}, "returned"),
        ("routing", {"retry": {}}, "retry"),
        ("routing", {"venue": "METEORA"}, "routing"),
        ("triggered", {"trigger": {"kind": "price"}}, "triggered"),
    ],
)
def test_an_event_of_the_previous_version_is_read_with_its_kind(status, facts, kind):
    old = {"orderId": ID, "epoch": 1, "seq": 3, "status": status, "at": events.moment(1_000), "attempt": 1, **facts}
    text = event_codec.current(json.dumps(old, separators=(",", ":")))
    assert list(json.loads(text).items()) == [*list(old.items())[:6], ("kind", kind), *facts.items()]
    assert event_codec.load(json.dumps(old)) == json.loads(text) == event_codec.today(dict(reversed(old.items())))


def forget_kinds(order_id):
    """Have Redis and Postgres hold an order's events as the previous version wrote them."""
    stream = f"{live.key(order_id)}:events"
    texts = live.events([order_id])[order_id]
    redis().delete(stream)
    for seq, text in enumerate(texts, 1):
        old = {name: value for name, value in json.loads(text).items() if name != "kind"}
        redis().xadd(stream, {"e": json.dumps(old, separators=(",", ":"))}, id=f"{seq}-0")
    row = models.Order.objects.get(pk=order_id)
    models.Order.objects.filter(pk=order_id).update(result={n: v for n, v in row.result.items() if n != "kind"})
    with forged():
        for row in models.OrderEvent.objects.filter(order_id=order_id):
            facts = {name: value for name, value in row.facts.items() if name != "kind"}
            models.OrderEvent.objects.filter(pk=row.pk).update(facts=facts)


async def test_clients_are_told_the_kind_of_events_that_were_written_without(bench, client):
    order_id = await aside(amended, bench)
    before = await aside(bench.events, order_id)
    assert [event["kind"] for event in before] == ["pending", "amended", "cancelled"]
    await aside(forget_kinds, order_id)
    async with opened(f"/ws/{order_id}") as socket:
        heard, _ = await socket.rest()
    assert heard == before
    assert (await aside(client.get, f"/api/orders/{order_id}/events")).json()["events"] == before
    await aside(empty_redis)
    assert (await aside(client.get, f"/api/orders/{order_id}/events")).json()["events"] == before
    assert (await aside(client.get, f"/api/orders/{order_id}")).json()["result"]["kind"] == "cancelled"


def amended(bench):
    (order_id,) = bench.accept(bench.limit("160"))
    waiting.amend(order_id, 1, {"limit_price": Decimal("158.5")})
    waiting.cancel(order_id, "no longer wanted")
    bench.archive()
    return order_id
