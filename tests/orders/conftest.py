"""People at a terminal and in the admin, a token to snipe, and nothing left from the test before."""

import asyncio
import gc
import signal
import socket
import threading

import pytest
from django.contrib.auth.models import Permission, User

from orders.flow import intake
from orders.flow.pauses import pauses
from orders.sockets import tail, ticker
from orders.stores.threads import aside
from routing import outages
from routing.catalogue import catalogue
from tests.orders import bench as benches
from tests.orders.accounts import account
from tests.orders.bench import OWNER
from tests.orders.doors import until
from tests.orders.receiver import receiving
from tests.orders.sniping import Market, list_token, new_mint


@pytest.fixture
def interruptible():
    """Take SIGINT as a terminal would send it: a shell's background jobs are started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def operator(client):
    """A client logged in as a superuser, without a password: hashing one takes half a second per test."""
    client.force_login(User.objects.create(username="ops", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def looker(client):
    """A client logged in as somebody who may look at everything and change nothing."""
    user = User.objects.create(username="looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


@pytest.fixture
def fresh_catalogue(db):
    """Each test reads its own tables: what another test's transaction held is gone."""
    catalogue.forget()
    yield
    catalogue.forget()


@pytest.fixture
def no_pauses():
    """Each test begins and ends with nothing paused in this process's memory."""

    def forget():
        pauses.forget()
        outages.withheld.forget()

    forget()
    yield
    forget()


@pytest.fixture
async def nothing_is_left_behind():
    """Every follower goes with its socket, and no task dies unheard."""
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    yield
    await until(lambda: not tail.tail().followers and not ticker.ticker().followers, "every follower has gone")
    gc.collect()
    await asyncio.sleep(0)
    assert unheard == []


@pytest.fixture
async def order_id(bench):
    """An accepted order that nobody works on yet."""
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    return order_id


@pytest.fixture
def nova(bench):
    """A token that is listed and safe, and has had no event yet."""
    mint = new_mint()
    list_token(mint)
    return Market(mint)


@pytest.fixture
def unannounced(monkeypatch):
    """Orders without live state, so that the feed holds only what the test puts there."""
    monkeypatch.setattr(intake, "announce", lambda new: None)


@pytest.fixture
def alice(bench, monkeypatch):
    """The account that places the bench's orders."""
    found = account("alice")
    monkeypatch.setattr(benches, "OWNER", found.pk)
    return found


class Clock:
    """A clock that a test sets, in seconds."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bob(bench):
    """Another account."""
    return account("bob")


@pytest.fixture
def webhook_account(bench, settings):
    """The account of the tests' orders, whose webhooks may go to this machine."""
    settings.ENGINE_WEBHOOK_PRIVATE = True
    bench.quote_all()
    User.objects.create(pk=OWNER, username="tests")
    # The ids of others follow.
    bench.sql("SELECT setval(pg_get_serial_sequence('auth_user', 'id'), (SELECT max(id) FROM auth_user))")


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


@pytest.fixture
def slow_names(monkeypatch):
    """Names of slow.example.com are not resolved while the test runs."""
    ends, resolve = threading.Event(), socket.getaddrinfo

    def slowly(host, *args, **more):
        if host == "slow.example.com":
            ends.wait(60)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return resolve(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    yield ends
    ends.set()
