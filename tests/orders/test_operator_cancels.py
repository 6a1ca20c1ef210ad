"""Whoever cancels orders of other accounts over the API acts as an operator, and is on record."""

from dataclasses import replace

from django.db import DatabaseError

from orders.models import Act
from orders.stores import acts


def anothers(bench):
    """Accept a resting order of another account than the key's; return its id."""
    new = bench.limit("999.00")
    (order_id,) = bench.accept(replace(new, order=replace(new.order, owner=2)))
    return order_id


def on_record():
    return [(act.who, act.origin, act.what, act.subject, act.outcome) for act in Act.objects.order_by("pk")]


def test_cancelling_anothers_order_is_an_operators_act_and_ones_own_is_none(bench, client):
    (own,) = bench.accept(bench.limit("999.00"))
    foreign = anothers(bench)
    for order_id in (own, foreign):
        assert client.delete(f"/api/orders/{order_id}").status_code == 200
    assert on_record() == [("the key tests", "127.0.0.1", "cancel order", foreign, "cancelled")]


def test_cancelling_everybodys_orders_of_a_pair_is_an_operators_act(bench, client):
    anothers(bench)
    assert client.delete("/api/orders?pair=SOL-USDC").json()["cancelled"] == 1
    assert on_record() == [("the key tests", "127.0.0.1", "cancel all orders", "SOL-USDC", "1 cancelled, 0 lost")]


def test_a_cancel_that_cannot_be_recorded_is_answered_as_done(bench, client, monkeypatch):
    def away(*args, **more):
        raise DatabaseError("the lock is held")

    monkeypatch.setattr(acts, "record", away)
    assert client.delete(f"/api/orders/{anothers(bench)}").json()["status"] == "cancelled"
