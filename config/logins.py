"""Who may log in: a throttle before the password is hashed, and a second factor after it."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

NAMES_MAX = 30
"""Failures from one address, under any names, after which names that nobody has are refused without hashing."""
PREFIX = 64
"""The part of an IPv6 address that its holder cannot change at will."""
CODE_DIGITS = 6
"""Length of a TOTP code; a recovery code is longer."""


def address(request: HttpRequest) -> str | None:
    """Return the address that failures are counted by.

    The server has put a trusted proxy's client in REMOTE_ADDR by then; nothing else that a client sends is believed.
    """
    given = request.META.get("REMOTE_ADDR")
    try:
        known = ip_address(given or "")
    except ValueError:
        return None
    if isinstance(known, IPv6Address):
        return str(known.ipv4_mapped or ip_network((known, PREFIX), strict=False).network_address)
    return str(known)


class Throttle(AxesDatabaseHandler):  # type: ignore[misc]
    """Refuses a user name at an address that failed too often there, and an address that guesses names.

    The name stays usable elsewhere, and other names at the address: nobody can lock out an operator from afar.
    """

    def is_locked(self, request: Any, credentials: dict[str, Any] | None = None) -> bool:
        return super().is_locked(request, credentials) or guesses_names(request, credentials)


def guesses_names(request: Any, credentials: dict[str, Any] | None) -> bool:
    """Tell whether a name that nobody has comes from an address that has failed with many: each would cost a hash."""
    since = get_cool_off_threshold(request)
    failed = AccessAttempt.objects.filter(ip_address=request.axes_ip_address, attempt_time__gte=since)
    if (failed.aggregate(all=Sum("failures_since_start"))["all"] or 0) < NAMES_MAX:
        return False
    return not User.objects.filter(username=get_client_username(request, credentials)).exists()


def locked(request: HttpRequest, response: Any = None, credentials: Any = None) -> HttpResponse:
    """Say that logging in is refused for now, in place of the login form."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    told = {**admin.site.each_context(request), "title": "Too many failed logins", "minutes": seconds // 60}
    page = render(request, "admin/locked.html", told, status=429)
    page["Retry-After"] = str(seconds)
    return page


class WithSecondFactor(ModelBackend):
    """Passwords, and for a user with a second factor its code, whatever form the login comes from.

    Without or with a wrong code it is a failed login like any other: it does not tell that the password was right.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Return the user whose password, and code if one is needed, was sent as `otp_token`."""
        user = super().authenticate(request, username, password, **kwargs)
        if user is None or not TOTPDevice.objects.filter(user=user, confirmed=True).exists():
            return user
        return user if request is not None and is_code(user, request.POST.get("otp_token", "")) else None


def is_code(user: User, typed: str) -> bool:
    """Accept a code once: the authenticator's, or one of the recovery codes."""
    code = "".join(filter(str.isalnum, typed)).lower()[:16]
    # Only the kind that is meant: each failure slows down all further tries on that device.
    kind = TOTPDevice if len(code) == CODE_DIGITS else StaticDevice
    with transaction.atomic():
        devices = kind.objects.select_for_update().filter(user=user, confirmed=True)
        return any(device.verify_token(code) for device in devices)
