"""The page that restarts a role, for owners; where no launcher runs, it says what to use instead."""

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orders.admin.recorded import note, reason_of
from orders.operations import restarts

MAY = "orders.restart_role"
PAGE = "admin:restart"


def restart_view(request: HttpRequest) -> HttpResponse:
    """Show the roles; ask for the restart of one, with a reason."""
    if not request.user.has_perm(MAY):
        raise PermissionDenied
    if request.method == "POST":
        ask(request, request.POST.get("role", ""))
        return HttpResponseRedirect(reverse(PAGE))
    context = admin.site.each_context(request) | {"title": "Restart a role", "log": settings.DATA_DIR / "logs"}
    try:
        known = sorted(restarts.processes().items())
    except restarts.NoLauncher as reason:
        context["elsewhere"] = str(reason).splitlines()
    else:
        named = [(role, f"{role} ({len(pids)})" if len(pids) > 1 else role) for role, pids in known]
        widget = UnfoldAdminTextInputWidget({"placeholder": "reason, for the audit log", "required": True})
        context |= {
            "role": UnfoldAdminSelectWidget({"required": True}, [("", "choose"), *named]).render("role", ""),
            "reason": widget.render("reason", ""),
            "restarting": [role for role, _ in known if restarts.is_asked(role)],
        }
    return TemplateResponse(request, "admin/restart.html", context)


def ask(request: HttpRequest, role: str) -> None:
    """Ask the launcher, and put it on record; or say why not."""
    if not reason_of(request):
        messages.error(request, "Nothing is restarted: give a reason for the audit log.")
        return
    try:
        restarts.ask(role)
    except (restarts.NoLauncher, restarts.CannotRestart, OSError) as reason:
        messages.error(request, f"Nothing is restarted: {reason}")
        return
    note(request, "restart role", role, "asked of the launcher")
    messages.success(request, f"{role} is being restarted; reload this page to see when that is over.")
