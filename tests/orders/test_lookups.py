"""Which signatures are looked up, and when."""

from orders.stores import lookups
from routing.store import now_ms, redis


def test_signatures_are_looked_up_when_due_by_one_of_several(bench):
    redis().zadd(lookups.OPEN, {"a": 0, "b": 0, "later": 10**15})
    assert sorted(lookups.due(10, 60_000, 10_000)) == ["a", "b"]
    assert lookups.due(10, 60_000, 10_000) == []
    lookups.drop(["a"])
    lookups.drop([])
    assert sorted(redis().zrange(lookups.OPEN, 0, -1)) == ["b", "later"]


def test_with_many_open_each_signature_is_looked_up_less_often(bench):
    lookups.add([str(n) for n in range(100)], 0, 0)
    lookups.due(1, 1, 10)
    _, put_off = redis().zrange(lookups.OPEN, -1, -1, withscores=True)[0]
    assert put_off - now_ms() > 8_000
