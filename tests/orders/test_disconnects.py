"""Cancel on disconnect: a key whose last socket is gone loses what rests, and nobody else does."""

import threading
import time
from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError as StoreGone

from orders.access import keys
from orders.flow import disconnects, limits, recovery
from orders.flow.disconnects import CODE, Watch
from orders.management.commands.apikeys import OPEN_ORDERS_MAX
from orders.models import ApiKey
from orders.stores import connected
from orders.stores.threads import THREADS, aside, threads
from routing import epochs
from routing.store import now_ms, redis
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.bench import OWNER, empty_redis
from tests.orders.commands.standin import run
from tests.orders.doors import opened, until

WHOLE_S = 15
"""How long a lease must stay as it is: the grace, two renewals and the longest gap between two looks."""


@pytest.fixture
def watch(bench, clock):
    epochs.current()
    return Watch(clock)


def look_on(watch, clock, seconds=WHOLE_S, meanwhile=lambda: None):
    """Have it look once a second; return how many keys were gone at the last look."""
    gone = watch.look()
    for _ in range(seconds):
        clock.now += 1
        meanwhile()
        gone = watch.look()
    return gone


def key_of(owner="alice", **more):
    return row_of(bearer(account(owner), cancels_on_disconnect=True, **more))


def last_renewed(key):
    """Have a server renew a key's lease, and no more."""
    connected.renew([key.pk])


def renewed(*others):
    """Have a server renew the leases of these keys; the stores' clock need not have moved since the last time."""
    for key in others:
        redis().zincrby(connected.leases_now(), 1, str(key.pk))


def resting(bench, key, **terms):
    asked = bench.limit("999")
    return bench.accept(replace(asked, order=replace(asked.order, owner=key.owner_id, **terms), key=key.pk))[0]


def test_what_rests_and_was_placed_with_the_key_is_cancelled_and_nothing_else(bench, watch, clock):
    key, other = key_of(), key_of()
    mine, others = resting(bench, key), resting(bench, other)
    (by_hand,) = bench.accept(bench.limit("999"))
    last_renewed(key)
    assert look_on(watch, clock, WHOLE_S - 1, lambda: renewed(other)) == 0
    assert bench.statuses(mine) == ["pending"]
    assert look_on(watch, clock, 1, lambda: renewed(other)) == 1
    last = bench.events(mine)[-1]
    assert (last["status"], last["code"]) == ("cancelled", CODE)
    assert last["reason"] == "the last WebSocket of its API key was gone for longer than 10 s"
    assert bench.statuses(others) == bench.statuses(by_hand) == ["pending"]
    later = resting(bench, key)
    assert look_on(watch, clock, 2 * WHOLE_S, lambda: renewed(other)) == 0
    assert bench.statuses(later) == ["pending"], "it has not been connected since"


def test_a_lease_lasts_for_the_grace(bench, watch, clock, settings):
    settings.DISCONNECT_GRACE_S = 60
    key = key_of()
    last_renewed(key)
    assert look_on(watch, clock, WHOLE_S + 49) == 0
    assert look_on(watch, clock, 1) == 1


def test_what_is_left_is_cancelled_on_the_next_look(bench, watch, clock, monkeypatch):
    key = key_of()
    mine = resting(bench, key)
    last_renewed(key)
    with monkeypatch.context() as patch:
        patch.setattr(disconnects.waiting, "ALL_WITHIN_S", -1)
        assert look_on(watch, clock) == 1
    assert bench.statuses(mine) == ["pending"]
    assert watch.look() == 1
    assert bench.statuses(mine)[-1] == "cancelled"


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000], ids=["back", "forward"])
def test_a_step_of_the_stores_clock_cancels_nothing_and_delays_nothing(bench, watch, clock, monkeypatch, step_ms):
    here, lost = key_of(), key_of()
    mine, others = resting(bench, here), resting(bench, lost)
    last_renewed(lost)
    look_on(watch, clock, 5, lambda: renewed(here))
    monkeypatch.setattr(connected, "now_ms", lambda: now_ms() + step_ms)
    connected.renew([here.pk])
    look_on(watch, clock, 9, lambda: renewed(here))
    assert bench.statuses(others) == ["pending"]
    look_on(watch, clock, 1, lambda: renewed(here))
    assert (bench.statuses(others)[-1], bench.statuses(mine)) == ("cancelled", ["pending"])


def test_redis_that_has_lost_everything_cancels_nothing(bench, watch, clock):
    key = key_of()
    mine = resting(bench, key)
    last_renewed(key)
    look_on(watch, clock, WHOLE_S - 1)
    empty_redis()
    assert look_on(watch, clock) == 0
    epochs.current()
    assert look_on(watch, clock) == 0
    assert bench.row(mine).status == "pending"


def test_a_lease_of_an_earlier_epoch_counts_no_more(bench, watch, clock):
    key = key_of()
    last_renewed(key)
    look_on(watch, clock, WHOLE_S - 1)
    epochs.advance("test")
    assert look_on(watch, clock) == 0
    last_renewed(key)
    assert look_on(watch, clock) == 1


def test_a_redis_that_came_back_older_begins_anew(bench, watch, clock):
    key = key_of()
    mine = resting(bench, key)
    connected.renew([key.pk])
    redis().zadd(connected.leases_now(), {str(key.pk): 7})
    look_on(watch, clock, WHOLE_S - 1)
    redis().zadd(connected.leases_now(), {str(key.pk): 6})
    look_on(watch, clock, WHOLE_S - 1)
    assert bench.statuses(mine) == ["pending"]
    look_on(watch, clock, 1)
    assert bench.statuses(mine)[-1] == "cancelled"


@pytest.mark.parametrize("away", ["refused", "frozen", "the watch frozen"])
def test_after_an_outage_servers_have_time_to_renew_before_anything_is_cancelled(
    bench, watch, clock, monkeypatch, away
):
    key = key_of()
    mine = resting(bench, key)
    last_renewed(key)
    look_on(watch, clock, WHOLE_S - 1)
    with monkeypatch.context() as patch:
        if away == "refused":

            def refuse():
                raise StoreGone("gone")

            patch.setattr(connected, "leases", refuse)
            with pytest.raises(StoreGone):
                watch.look()
        elif away == "frozen":
            read = connected.leases

            def answer_late():
                clock.now += 4
                return read()

            patch.setattr(connected, "leases", answer_late)
            watch.look()
        else:
            clock.now += 4
    look_on(watch, clock, WHOLE_S - 1)
    assert bench.statuses(mine) == ["pending"]
    look_on(watch, clock, 1)
    assert bench.statuses(mine)[-1] == "cancelled"


def at_each_page(monkeypatch, act):
    """Have `act` done before each page of a cancellation, after the orders to cancel were looked up."""
    pages = disconnects.waiting.cancel_pages

    def acting(which, end):
        for done in pages(which, end):
            if not done.complete:
                act(done)
            yield done

    monkeypatch.setattr(disconnects.waiting, "cancel_pages", acting)


def test_a_key_that_is_connected_again_meanwhile_keeps_its_orders(bench, watch, clock, monkeypatch):
    first, second = key_of(), key_of()
    orders = [resting(bench, first), resting(bench, second)]
    last_renewed(first)
    last_renewed(second)
    at_each_page(monkeypatch, lambda _: renewed(second))
    look_on(watch, clock)
    assert bench.statuses(orders[0])[-1] == "cancelled"
    assert bench.statuses(orders[1]) == ["pending"]


def test_it_keeps_the_pages_that_were_not_cancelled_yet(bench, watch, clock, monkeypatch):
    monkeypatch.setattr(recovery, "PAGE", 1)
    key = key_of()
    orders = [resting(bench, key) for _ in range(3)]
    last_renewed(key)
    at_each_page(monkeypatch, lambda done: done.cancelled == 1 and renewed(key))
    look_on(watch, clock)
    assert [bench.statuses(order_id)[-1] for order_id in orders] == ["cancelled", "pending", "pending"]
    assert key.pk in connected.leases()


def test_nothing_is_cancelled_after_a_pause_between_two_keys(bench, watch, clock, monkeypatch):
    keys_ = [key_of(), key_of()]
    orders = [resting(bench, key) for key in keys_]
    for key in keys_:
        last_renewed(key)
    look_on(watch, clock, WHOLE_S - 1)
    clock.now += 1
    at_each_page(monkeypatch, lambda _: setattr(clock, "now", clock.now + 4))
    watch.look()
    assert [bench.statuses(order_id) for order_id in orders] == [["pending"], ["pending"]]


def test_an_order_that_was_just_moving_is_cancelled_when_it_rests_again(bench, watch, clock):
    key = key_of()
    asked = bench.limit("100")
    bench.quote_all()
    (moving,) = bench.accept(replace(asked, order=replace(asked.order, owner=key.owner_id), key=key.pk))
    limits.check()
    assert bench.statuses(moving) == ["pending", "triggered"]
    last_renewed(key)
    assert look_on(watch, clock) == 1
    assert bench.statuses(moving) == ["pending", "triggered"]
    assert key.pk in connected.leases()
    bench.price("90")
    bench.price("90", venue="RAYDIUM")
    bench.run([moving])
    assert bench.statuses(moving)[-1] == "pending"
    clock.now += 1
    assert watch.look() == 1
    assert bench.statuses(moving)[-1] == "cancelled"
    assert connected.leases() == {}, "nothing of the key is left"


def test_a_lease_that_was_renewed_is_not_dropped(bench, watch):
    key = key_of()
    connected.renew([key.pk])
    (score,) = connected.leases().values()
    renewed(key)
    assert not connected.forget(key.pk, score)
    assert connected.forget(key.pk, score + 1)
    assert connected.leases() == {} and not connected.forget(key.pk, score)


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


async def test_whatever_occupies_the_event_loop_and_its_threads_delays_no_renewal(bench, monkeypatch):
    monkeypatch.setattr(connected, "RENEW_EVERY_S", 0.01)
    await aside(epochs.current)
    await aside(bench.price, "155")
    with rows_of_keys(monkeypatch):
        header = await aside(lambda: bearer(account("ann"), cancels_on_disconnect=True))
        async with opened("/ws/quotes/SOL-USDC", [(b"authorization", header["authorization"].encode())]) as socket:
            await socket.event()
            await until(leased, "the key counts as connected")
            done = threading.Event()
            blocked = [threads().submit(done.wait, 60) for _ in range(THREADS)]
            try:
                for _ in range(3):
                    before, deadline = connected.leases(), time.monotonic() + 10
                    # The loop is held up, too: this never awaits.
                    while connected.leases() == before:
                        assert time.monotonic() < deadline, "the lease is not renewed"
            finally:
                done.set()
            assert [one.result(10) for one in blocked] == [True] * THREADS


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
