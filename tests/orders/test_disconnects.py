"""Cancel on disconnect: a key whose last socket is gone loses what rests, and nobody else does."""

from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError as StoreGone

from orders.access import keys
from orders.flow import disconnects
from orders.flow.disconnects import CODE, Watch
from orders.management.commands.apikeys import OPEN_ORDERS_MAX
from orders.models import ApiKey
from orders.stores import connected
from orders.stores.threads import aside
from routing import epochs
from routing.store import now_ms, redis
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.bench import OWNER, empty_redis
from tests.orders.commands.standin import run
from tests.orders.doors import opened, until

READY_S = 13


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(bench, clock):
    """A watch that has looked for long enough to act."""
    epochs.current()
    found = Watch(clock)
    look_on(found, clock)
    return found


def look_on(watch, clock):
    """Have it look once a second for as long as it takes to trust what it sees."""
    for _ in range(READY_S):
        watch.look()
        clock.now += 1
    return watch.look()


def key_of(owner="alice", **more):
    return row_of(bearer(account(owner), cancels_on_disconnect=True, **more))


def gone(key):
    """Have a key's lease end now."""
    connected.renew([key.pk])
    redis().zadd(connected.leases_now(), {str(key.pk): now_ms() - 1})


def resting(bench, key, **terms):
    asked = bench.limit("999")
    return bench.accept(replace(asked, order=replace(asked.order, owner=key.owner_id, **terms), key=key.pk))[0]


def test_what_rests_and_was_placed_with_the_key_is_cancelled_and_nothing_else(bench, watch):
    key, other = key_of(), key_of()
    mine, others = resting(bench, key), resting(bench, other)
    (by_hand,) = bench.accept(bench.limit("999"))
    connected.renew([other.pk])
    gone(key)
    assert watch.look() == 1
    last = bench.events(mine)[-1]
    assert (last["status"], last["code"]) == ("cancelled", CODE)
    assert last["reason"] == "the last WebSocket of its API key was gone for longer than 10 s"
    assert bench.statuses(others) == bench.statuses(by_hand) == ["pending"]
    assert watch.look() == 0, "once"
    later = resting(bench, key)
    watch.look()
    assert bench.statuses(later) == ["pending"], "it has not been connected since"


def test_a_lease_lasts_for_the_grace_after_the_next_renewal_is_due(bench, watch, settings):
    settings.DISCONNECT_GRACE_S = 60
    key = key_of()
    before = now_ms()
    connected.renew([key.pk])
    until_ = redis().zscore(connected.leases_now(), str(key.pk))
    assert before + 61_000 <= until_ <= now_ms() + 61_000
    assert watch.look() == 0


def test_what_is_left_is_cancelled_on_the_next_look(bench, watch, monkeypatch):
    key = key_of()
    mine = resting(bench, key)
    gone(key)
    with monkeypatch.context() as patch:
        patch.setattr(disconnects.waiting, "ALL_WITHIN_S", -1)
        assert watch.look() == 1
    assert bench.statuses(mine) == ["pending"]
    assert watch.look() == 1
    assert bench.statuses(mine)[-1] == "cancelled"


def test_redis_that_has_lost_everything_cancels_nothing(bench, watch, clock):
    key = key_of()
    mine = resting(bench, key)
    gone(key)
    empty_redis()
    assert look_on(watch, clock) == 0
    epochs.current()
    assert look_on(watch, clock) == 0
    assert bench.row(mine).status == "pending"


def test_a_lease_of_an_earlier_epoch_counts_no_more(bench, watch):
    key = key_of()
    gone(key)
    epochs.advance("test")
    assert watch.look() == 0
    gone(key)
    assert watch.look() == 1


@pytest.mark.parametrize("outage", ["refused", "frozen"])
def test_after_an_outage_of_redis_servers_have_time_to_renew_before_anything_is_cancelled(
    bench, watch, clock, monkeypatch, outage
):
    key = key_of()
    mine = resting(bench, key)
    if outage == "refused":

        def away():
            raise StoreGone("gone")

        with monkeypatch.context() as patch:
            patch.setattr(connected, "lapsed", away)
            with pytest.raises(StoreGone):
                watch.look()
    else:
        clock.now += 30
    gone(key)
    watch.look()
    assert bench.statuses(mine) == ["pending"]
    look_on(watch, clock)
    assert bench.statuses(mine)[-1] == "cancelled"


def leased():
    found = connected.leases_now()
    return redis().zrange(found, 0, -1) if found else []


async def test_a_server_renews_the_leases_of_its_sockets_keys_alone_and_until_they_are_closed(bench, monkeypatch):
    monkeypatch.setattr(connected, "RENEW_EVERY_S", 0.01)
    await aside(epochs.current)
    await aside(bench.price, "155")
    with rows_of_keys(monkeypatch):
        headers = await aside(
            lambda: [bearer(account("ann"), cancels_on_disconnect=flag) for flag in (True, True, False)]
        )
        ids = [str((await aside(row_of, header)).pk) for header in headers]
        wires = [[(b"authorization", header["authorization"].encode())] for header in headers]
        path = "/ws/quotes/SOL-USDC"
        async with opened(path, wires[0]) as first, opened(path, wires[0]) as twin, opened(path, wires[2]) as plain:
            for socket in (first, twin, plain):
                await socket.event()
            await until(lambda: leased() == ids[:1], "the lease of the one key that has sockets and the flag")
            empty_redis()
            await aside(epochs.current)
            await until(lambda: leased() == ids[:1], "the lease is renewed after a loss")
        async with opened(path, wires[1]) as other:
            await other.event()
            redis().delete(connected.leases_now())
            await until(lambda: leased() == ids[1:2], "the closed sockets' key is renewed no more")


def test_the_command_and_the_admin_make_such_keys_and_a_successor_inherits_it(bench, operator, capsys):
    account("alice")
    assert run("apikeys", "create", "bot", "--owner", "alice", "--cancel-on-disconnect") == 0
    assert run("apikeys", "create", "plain", "--owner", "alice") == 0
    flags = dict(ApiKey.objects.values_list("name", "cancels_on_disconnect"))
    assert (flags["bot"], flags["plain"]) == (True, False)
    successor, _ = keys.rotate(ApiKey.objects.get(name="bot"), 60, "ops")
    assert (successor.cancels_on_disconnect, successor.open_orders_max) == (True, OPEN_ORDERS_MAX)
    asked = {"name": "made here", "owner": account("alice").pk, "scopes": ["trade"], "cancels_on_disconnect": "on"}
    assert operator.post("/admin/orders/apikey/add/", asked).status_code == 200
    assert ApiKey.objects.get(name="made here").cancels_on_disconnect


def test_an_order_remembers_its_key(bench):
    key = key_of()
    assert bench.row(resting(bench, key)).api_key == key.pk
    assert bench.row(bench.place()[0]).api_key is None
    assert key.owner_id != OWNER
