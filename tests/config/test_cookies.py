"""Who logs in over TLS keeps the session on TLS; on a laptop without it one can log in all the same."""

import pytest
from django.core.management import call_command


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_cookies_belong_to_tls_where_there_is_tls(bench, client, admin_user, secure):
    words = {"username": admin_user.username, "password": "password"}
    answer = client.post("/admin/login/?next=/admin/", words, secure=secure)
    assert answer.status_code == 302
    assert set(answer.cookies) == {"engine_session", "engine_csrf"}
    assert {bool(cookie["secure"]) for cookie in answer.cookies.values()} == {secure}


def test_a_session_ends_after_twelve_hours_and_belongs_to_this_site_and_to_no_script(bench, client, admin_user):
    client.post("/admin/login/", {"username": admin_user.username, "password": "password"})
    session = client.cookies["engine_session"]
    assert (session["max-age"], session["samesite"], session["httponly"]) == (12 * 3600, "Strict", True)
    assert client.cookies["engine_csrf"]["samesite"] == "Strict"


@pytest.mark.parametrize(
    ("password", "said"),
    [("Tr4der-x", "too short"), ("password1234", "too common"), ("739105528416", "entirely numeric")],
)
def test_a_weak_password_is_refused_in_the_admin(bench, client, admin_user, password, said):
    client.force_login(admin_user)
    form = {"old_password": "password", "new_password1": password, "new_password2": password}
    assert said in client.post("/admin/password_change/", form).content.decode()
    admin_user.refresh_from_db()
    assert admin_user.check_password("password")


def test_a_lost_password_is_replaced_by_command(bench, admin_user, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: "a new one, 5 words long")
    call_command("changepassword", "admin")
    admin_user.refresh_from_db()
    assert admin_user.check_password("a new one, 5 words long")
