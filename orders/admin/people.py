"""The admin's users and groups: Django's own, in the theme."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from orders.admin.recorded import Recorded
from orders.flow import pauses
from orders.models import LimitScope, Pause, Scope, TradingLimit
from orders.operations import trading_limits

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class People(Recorded, UserAdmin, ModelAdmin):  # type: ignore[type-arg, misc]
    """Operators."""

    list_display = ("username", "is_active", "is_superuser", "of", "second_factor", "last_login")
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Tell of each user whether a code is asked for."""
        confirmed = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.annotate(has_second_factor=Exists(confirmed)).prefetch_related("groups")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save, and show what stops or limits a renamed user under the new name."""
        super().save_model(request, obj, form, change)
        if "username" in form.changed_data and change:
            Pause.objects.filter(scope=Scope.USER, subject=obj.pk).update(name=obj.username)
            TradingLimit.objects.filter(scope=LimitScope.USER, subject=obj.pk).update(name=obj.username)
            transaction.on_commit(pauses.pauses_changed)
            transaction.on_commit(trading_limits.changed)

    @admin.display(description="groups")
    def of(self, user: User) -> str:
        return ", ".join(sorted(group.name for group in user.groups.all()))

    @admin.display(boolean=True)
    def second_factor(self, user: User) -> bool:
        """Show whether a code is asked for; `manage.py secondfactor` sets it up and removes it."""
        return bool(user.has_second_factor)  # type: ignore[attr-defined]


@admin.register(Group)
class Groups(Recorded, GroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Operators' permissions, by role."""
