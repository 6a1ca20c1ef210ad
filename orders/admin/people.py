"""The admin's users and groups: Django's own, in the theme."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from orders.admin.recorded import Recorded

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
