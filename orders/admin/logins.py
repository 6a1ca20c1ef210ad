"""Logging in: the form, with a field for the second factor, and the failures that the throttle counts."""

from axes.models import AccessAttempt
from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment

# Their pages would show the secrets; `manage.py secondfactor` makes and removes them.
admin.site.unregister(TOTPDevice)
admin.site.unregister(StaticDevice)


class LoginForm(AuthenticationForm):  # type: ignore[misc]
    """User name and password, and a code from those who have a second factor; the backend checks all three."""

    otp_token = forms.CharField(
        required=False,
        max_length=32,
        label="Code",
        help_text="Only if you have a second factor: from your authenticator app, or a recovery code.",
        widget=forms.TextInput(
            {"class": " ".join(BASE_INPUT_CLASSES), "autocomplete": "one-time-code", "spellcheck": "false"}
        ),
    )
    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "Please enter the correct username and password for a staff account, and the code if you "
        "have a second factor.",
    }


admin.site.login_form = LoginForm


@admin.register(AccessAttempt)
class FailedLogins(ReadOnly):
    """Failed logins by user name and address; unlocking forgets them."""

    list_display = ("username", "ip_address", "failures_since_start", "last")
    list_display_links = None
    fields = ("username", "ip_address", "failures_since_start", "last", "user_agent", "path_info")
    readonly_fields = fields
    actions = ("unlock",)

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")

    @admin.action(description="Unlock", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[AccessAttempt]) -> None:
        """Let these names log in again from these addresses."""
        for row in queryset[: self.list_per_page]:
            said = f"Unlocked {row.username} at {row.ip_address}."
            self.log_change(request, row, said)
            # There is a row for each browser that the name failed with.
            AccessAttempt.objects.filter(username=row.username, ip_address=row.ip_address).delete()
            messages.success(request, said)

    @admin.display(description="last (UTC)")
    def last(self, row: AccessAttempt) -> str:
        return moment(row.attempt_time)
