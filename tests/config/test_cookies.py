"""Who logs in over TLS keeps the session on TLS; on a laptop without it one can log in all the same."""

import pytest


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_cookies_belong_to_tls_where_there_is_tls(bench, client, admin_user, secure):
    words = {"username": admin_user.username, "password": "password"}
    answer = client.post("/admin/login/?next=/admin/", words, secure=secure)
    assert answer.status_code == 302
    assert {"sessionid", "csrftoken"} <= set(answer.cookies)
    assert {bool(cookie["secure"]) for cookie in answer.cookies.values()} == {secure}
