"""Logging in: guesses are refused before they cost anything, operators are not, and a second factor is asked for."""

import io
from base64 import b32decode
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.utils.timezone import now
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from config.logins import NAMES_MAX, address
from deploy.proxied import behind_proxies

pytestmark = pytest.mark.django_db

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
LIMIT = 5


@pytest.fixture
def hashed(monkeypatch):
    """Count how often a password is hashed, cheaply."""
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 10)
    User.objects.create_superuser("admin", password="password")
    User.objects.create_superuser("other", password="password")
    counted, encode = [], PBKDF2PasswordHasher.encode

    def count(self, password, *more):
        counted.append(password)
        return encode(self, password, *more)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", count)
    return counted


@pytest.fixture
def clock(monkeypatch):
    """A clock that can be put forward."""
    moved = [timedelta()]
    monkeypatch.setattr("axes.handlers.proxy.now", lambda: now() + moved[0])

    def forward(**more):
        moved[0] += timedelta(**more)

    return forward


def log_in(name="admin", password="password", at=HERE, **more):
    words = {"username": name, "password": password, **more}
    return Client().post("/admin/login/", words, REMOTE_ADDR=at)


def lets_in(answer):
    return answer.status_code == 302


def lock(name="admin", at=HERE):
    answers = [log_in(name, "wrong", at) for _ in range(LIMIT)]
    assert [answer.status_code for answer in answers] == [200] * (LIMIT - 1) + [429]
    return answers[-1]


def test_the_fifth_failure_locks_and_even_the_right_password_is_then_refused_unhashed(hashed):
    said = lock()
    assert said["Retry-After"] == "900"
    assert "refused for 15 minutes" in said.content.decode()
    hashed.clear()
    assert log_in().status_code == 429
    assert hashed == []


def test_the_operator_is_let_in_from_another_address_and_others_from_the_same_one(hashed):
    lock()
    assert lets_in(log_in(at=ELSEWHERE))
    assert lets_in(log_in("other"))


def test_a_lock_ends_after_its_time_however_long_somebody_goes_on_trying(hashed, clock):
    lock()
    clock(minutes=14)
    assert log_in(password="wrong").status_code == 429
    clock(minutes=1, seconds=1)
    assert lets_in(log_in())


def test_failures_before_a_login_do_not_count_after_it(hashed):
    for _ in range(2):
        for _ in range(LIMIT - 1):
            log_in(password="wrong")
        assert lets_in(log_in())


def test_an_address_that_guesses_names_costs_no_hashes_and_no_rows_and_locks_nobody_out(hashed):
    for number in range(NAMES_MAX):
        log_in(f"name{number}")
    hashed.clear()
    assert log_in("one more").status_code == 429
    assert hashed == []
    assert AccessAttempt.objects.count() == NAMES_MAX
    assert lets_in(log_in())
    assert log_in("one more", at=ELSEWHERE).status_code == 200


def test_whatever_form_a_login_comes_from_it_is_throttled(hashed):
    lock()
    request = RequestFactory().post("/any/other/form/", REMOTE_ADDR=HERE)
    assert authenticate(request, username="admin", password="password") is None
    request = RequestFactory().post("/any/other/form/", REMOTE_ADDR=ELSEWHERE)
    assert authenticate(request, username="admin", password="password")


def test_neither_a_password_nor_a_code_is_kept_nor_logged(hashed, caplog):
    log_in("typed-as-a-name", "hunter2!", otp_token="123456")
    row = str(AccessAttempt.objects.values("get_data", "post_data", "path_info", "http_accept").get())
    for secret in ("hunter2!", "123456"):
        assert secret not in row
        assert secret not in caplog.text
    assert "typed-as-a-name" not in caplog.text


@pytest.mark.parametrize("unlock", ["command", "page"])
def test_a_lock_is_ended_by_command_and_on_the_page(hashed, unlock):
    lock()
    if unlock == "command":
        call_command("axes_reset_username", "admin")
    else:
        owner = Client()
        owner.force_login(User.objects.get(username="other"))
        (row,) = AccessAttempt.objects.all()
        act = {"action": "unlock", "_selected_action": row.pk}
        said = owner.post("/admin/axes/accessattempt/", act, follow=True).content.decode()
        assert f"Unlocked admin at {HERE}." in said
        assert f"Unlocked admin at {HERE}." in owner.get("/admin/orders/act/").content.decode()
    assert lets_in(log_in())


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", None),
    ],
)
def test_all_addresses_of_one_ipv6_network_are_one(given, counted):
    assert address(RequestFactory().post("/", REMOTE_ADDR=given)) == counted


@pytest.mark.parametrize(("trusted", "counted"), [("10.0.0.7", "192.0.2.1"), ("10.0.0.8", "10.0.0.7")])
async def test_only_a_trusted_proxy_says_whose_failure_it_is(monkeypatch, trusted, counted):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    found = []

    async def served(scope, receive, send):
        found.append(address(ASGIRequest(scope, io.BytesIO())))

    # What a client adds in front is not what the proxy has seen.
    headers = [(b"x-forwarded-for", b"203.0.113.9, 192.0.2.1"), (b"x-real-ip", b"203.0.113.9")]
    scope = {"type": "http", "scheme": "http", "method": "POST", "path": "/", "client": ("10.0.0.7", 1)}
    await behind_proxies(served)({**scope, "headers": headers, "asgi": {"version": "3.0"}}, None, None)
    assert found == [counted]


# --- the second factor


class Phone:
    """An operator's authenticator app: it reads the link that the command shows."""

    def __init__(self, monkeypatch):
        self.said = io.StringIO()
        monkeypatch.setattr("builtins.input", lambda prompt: self.code())

    def set_up(self, *words):
        call_command("secondfactor", "admin", *words, stdout=self.said)

    def code(self, later=0):
        """Return the code it shows now, or some steps later."""
        link = next(word for word in self.said.getvalue().split() if word.startswith("otpauth://totp/"))
        secret = parse_qs(urlsplit(link).query)["secret"][0]
        return f"{TOTP(b32decode(secret), drift=later).token():06}"

    def recovery_codes(self):
        return self.said.getvalue().split("once:")[1].split()


@pytest.fixture
def phone(hashed, monkeypatch):
    one = Phone(monkeypatch)
    one.set_up()
    return one


def test_who_has_none_needs_no_code(hashed):
    assert lets_in(log_in())


def test_with_a_second_factor_the_password_alone_is_refused_as_if_it_were_wrong(phone):
    without, wrong = log_in(), log_in(password="wrong")
    assert [answer.status_code for answer in (without, wrong)] == [200, 200]
    assert without.context["form"].non_field_errors() == wrong.context["form"].non_field_errors()
    assert "the code if you have a second factor" in without.content.decode()


def test_a_code_lets_in_once(phone):
    # The one that confirmed the app is used up.
    assert not lets_in(log_in(otp_token=phone.code()))


def test_the_next_code_lets_in_once(phone):
    code = phone.code(later=1)
    assert lets_in(log_in(otp_token=f"{code[:3]} {code[3:]}"))
    assert not lets_in(log_in(otp_token=code))


def test_a_recovery_code_lets_in_once(phone):
    first, second, *_ = phone.recovery_codes()
    assert lets_in(log_in(otp_token=first))
    assert not lets_in(log_in(otp_token=first))
    assert User.objects.get(username="admin").staticdevice_set.get().token_set.filter(token=second).exists()


@pytest.mark.parametrize("typed", ["abc", "\x00", "٣" * 6, "1" * 32, "-12345"])
def test_what_is_no_code_is_refused(phone, typed):
    assert log_in(otp_token=typed).status_code == 200


def test_wrong_codes_lock_like_wrong_passwords(phone):
    for _ in range(LIMIT - 1):
        log_in(otp_token="abcdefgh")
    assert log_in(otp_token="abcdefgh").status_code == 429


def test_whatever_form_a_login_comes_from_the_code_is_asked_for(phone):
    request = RequestFactory().post("/any/other/form/", REMOTE_ADDR=HERE)
    assert authenticate(request, username="admin", password="password") is None
    request = RequestFactory().post("/any/other/form/", {"otp_token": phone.code(later=1)}, REMOTE_ADDR=HERE)
    assert authenticate(request, username="admin", password="password")


def test_a_wrong_code_at_setting_up_changes_nothing(phone, monkeypatch):
    (before,) = TOTPDevice.objects.all()
    monkeypatch.setattr("builtins.input", lambda prompt: "12345")
    with pytest.raises(CommandError, match="nothing has changed"):
        call_command("secondfactor", "admin")
    assert TOTPDevice.objects.get() == before
    assert len(phone.recovery_codes()) == User.objects.get(username="admin").staticdevice_set.get().token_set.count()


def test_a_lost_phone_is_replaced_or_given_up_by_command(phone):
    again = phone.code(later=1)
    phone.said = io.StringIO()
    phone.set_up()
    assert not lets_in(log_in(otp_token=again))
    phone.set_up("--remove")
    assert lets_in(log_in())


def test_the_list_of_users_tells_who_has_one(phone):
    owner = Client()
    owner.force_login(User.objects.get(username="other"))
    rows = owner.get("/admin/auth/user/").context["cl"].result_list
    assert {row.username: row.has_second_factor for row in rows} == {"admin": True, "other": False}


def test_no_page_shows_a_secret(phone):
    owner = Client()
    owner.force_login(User.objects.get(username="other"))
    for model in ("otp_totp/totpdevice", "otp_static/staticdevice"):
        assert owner.get(f"/admin/{model}/").status_code == 404


def test_nobody_has_a_second_factor_whom_there_is_not():
    with pytest.raises(CommandError, match="there is no user nobody"):
        call_command("secondfactor", "nobody")
