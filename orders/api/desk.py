"""The trading desk's pages: all they show comes from the API and the sockets, all they run from this server."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, views
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from orders.access import tickets
from orders.access.callers import Unauthorized, of_user
from orders.api.errors import read_only, taking
from routing import wiring

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; connect-src 'self' ws://{host} wss://{host}"
)
"""Nothing inline, nothing from elsewhere.  Not every browser takes 'self' to cover sockets, so these are named."""


def guarded(view: Callable[..., Any]) -> Callable[..., Any]:
    """Have a page run and show nothing but what this server sends."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = view(request, *args, **kwargs)
        # Django has checked the host: it is one of ours, and cannot smuggle anything into the policy.
        response["Content-Security-Policy"] = POLICY.format(host=request.get_host())
        response["Referrer-Policy"] = "same-origin"
        return response

    return answer


@read_only
@guarded
def desk(request: HttpRequest) -> HttpResponse:
    """Show the desk to whoever has logged in."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    shown = {"mock": wiring.is_mock(), "orders": "all" if of_user(request.user).only_of is None else "own"}
    return render(request, "desk/desk.html", shown)


LOG_IN = views.LoginView.as_view(template_name="desk/login.html", next_page="desk")
log_in = taking("GET", "HEAD", "POST")(guarded(LOG_IN))
log_out = taking("POST")(views.LogoutView.as_view(next_page="login"))


@read_only
@guarded
def enter(request: HttpRequest, ticket: str) -> HttpResponse:
    """Log in by the link that `manage.py up` prints; it works once."""
    try:
        caller = tickets.redeem(ticket, "login")
        user = get_user_model().objects.get(pk=caller.owner, is_active=True)
    except (Unauthorized, get_user_model().DoesNotExist):
        return HttpResponseRedirect(f"{reverse('login')}?used")
    # The ticket has proved who it is; the throttle, which comes first, keeps no sessions.
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    return HttpResponseRedirect("/")
