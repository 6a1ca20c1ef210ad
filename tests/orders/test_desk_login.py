"""Who has logged in uses the desk, and its script the API, by the session; a page of another site cannot."""

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client

from config.asgi import application
from orders.access import tickets
from orders.access.callers import of_user
from orders.models import Order
from tests.orders.doors import HOST, ORDER, WITHIN_S

PASSWORD = "a password of 5 words"


@pytest.fixture
def trader(bench):
    bench.quote_all()
    return User.objects.create_user("trader", password=PASSWORD)


@pytest.fixture
def browser():
    """A browser: it keeps cookies, sends no key, and is held to the CSRF token."""
    return Client(enforce_csrf_checks=True)


def log_in(browser, password=PASSWORD, to="/"):
    browser.get("/login/")
    form = {"username": "trader", "password": password, "next": to}
    return browser.post("/login/", {**form, "csrfmiddlewaretoken": browser.cookies["engine_csrf"].value})


def place(browser, **headers):
    return browser.post("/api/orders/execute", ORDER, content_type="application/json", headers=headers)


def proof(browser):
    browser.get("/")
    return {"x-csrftoken": browser.cookies["engine_csrf"].value}


def test_a_stranger_is_sent_to_the_login_and_back(trader, browser):
    assert browser.get("/?pair=SOL-USDC").headers["location"] == "/login/?next=/%3Fpair%3DSOL-USDC"
    assert log_in(browser, to="/?pair=SOL-USDC").headers["location"] == "/?pair=SOL-USDC"
    assert browser.get("/").status_code == 200


def test_nobody_is_sent_to_another_site(trader, browser):
    assert log_in(browser, to="https://evil.example/").headers["location"] == "/"


def test_a_wrong_password_is_told_and_opens_nothing(trader, browser):
    assert "enter a correct" in log_in(browser, "wrong").content.decode()
    assert browser.get("/").status_code == 302


def test_a_link_logs_in_once_and_only_as_what_it_was_made_for(trader, browser):
    link, socket = tickets.issue(of_user(trader), "login"), tickets.issue(of_user(trader))
    assert browser.get(f"/enter/{link}").headers["location"] == "/"
    assert browser.get("/").status_code == 200
    for spent in (link, socket, "never-made"):
        other = Client()
        assert other.get(f"/enter/{spent}").headers["location"] == "/login/?used"
        assert other.get("/").status_code == 302
    assert "has been used or has expired" in Client().get("/login/?used").content.decode()


def test_a_link_of_an_account_that_is_closed_opens_nothing(trader, browser):
    link = tickets.issue(of_user(trader), "login")
    User.objects.update(is_active=False)
    assert browser.get(f"/enter/{link}").headers["location"] == "/login/?used"


def test_the_session_places_orders_of_its_account_and_shows_no_others(bench, trader, browser):
    (others,) = bench.place()
    log_in(browser)
    placed = place(browser, **proof(browser))
    assert placed.status_code == 202, placed.content
    assert Order.objects.get(pk=placed.json()["orderId"]).owner_id == trader.pk
    assert [one["orderId"] for one in browser.get("/api/orders").json()["results"]] == [placed.json()["orderId"]]
    assert browser.get(f"/api/orders/{others}").status_code == 404


@pytest.mark.parametrize("headers", [{}, {"x-csrftoken": "x" * 64}], ids=["no token", "a wrong one"])
def test_without_the_pages_own_token_the_session_changes_nothing(trader, browser, headers):
    log_in(browser)
    refused = place(browser, **headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert Order.objects.count() == 0


def test_who_has_logged_out_is_nobody(trader, browser):
    log_in(browser)
    assert browser.post("/logout/", headers=proof(browser)).headers["location"] == "/login/"
    assert browser.get("/api/orders").status_code == 401


@pytest.mark.parametrize(("origin", "code"), [("http://localhost", None), (None, 4401)], ids=["our page", "no page"])
async def test_a_session_opens_sockets_for_our_own_pages_alone(trader, origin, code, monkeypatch):
    from orders.sockets import handshake

    monkeypatch.setattr(handshake, "TICKET_WITHIN_S", 0.05)
    browser = Client()
    await sync_to_async(browser.force_login)(trader)
    cookie = (b"cookie", f"engine_session={browser.cookies['engine_session'].value}".encode())
    more = [(b"origin", origin.encode())] if origin else []
    socket = WebsocketCommunicator(application, "/ws/orders", headers=[*HOST, cookie, *more])
    accepted, _ = await socket.connect(timeout=WITHIN_S)
    assert accepted
    if code is None:
        await socket.send_json_to({"follow": []})
        assert await socket.receive_json_from(timeout=WITHIN_S) == {"following": 0}
        await socket.disconnect(timeout=WITHIN_S)
        return
    assert (await socket.receive_json_from(timeout=WITHIN_S))["error"]["code"] == "unauthorized"
    assert (await socket.receive_output(timeout=WITHIN_S))["code"] == code
