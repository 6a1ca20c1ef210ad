"""Dead letters: orders that failed for good, and their replay."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.admin import search
from orders.admin.readonly import ReadOnly
from orders.admin.recorded import reason_of
from orders.admin.timeline import told
from orders.admin.wording import link, moment
from orders.flow import dead_letters
from orders.models import ArchivedOrder, DeadLetter, Order
from orders.stores import event_codec


class ByOutlook(admin.SimpleListFilter):
    """Letters by the outlook of a replay."""

    title = parameter_name = "replay"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(one.value, str(one.label)) for one in dead_letters.Outlook]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        asked = self.value()
        if asked not in dead_letters.Outlook.values:
            return queryset
        return queryset.filter(dead_letters.LETTERS[dead_letters.Outlook(asked)])


def may_be_asked(letter: DeadLetter) -> bool:
    """Tell whether to offer a replay: an open attempt may have ended since, but what cannot help never will."""
    return letter.replayed_at is None and letter.replay_may_help


class WithReason(ActionForm):  # type: ignore[misc]
    """What to do with the selected letters, and why."""

    reason = forms.CharField(
        label="",
        max_length=200,
        required=False,
        widget=UnfoldAdminTextInputWidget({"placeholder": "reason, for the audit log", "aria-label": "Reason"}),
    )


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    """Why each order failed for good, and whether a replay is safe."""

    list_display = ("id", "of", "code", "reason", "replay_is", "created", "replayed", "replayed_by")
    list_filter = (ByOutlook, ("replayed_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("order",)
    search_fields = ("order",)
    search_help_text = "The beginning of an order id, a client order id or a transaction hash."
    fields = ("of", "code", "reason", "replay_is", "created", "replayed", "replayed_by")
    readonly_fields = fields
    actions = ("replay_selected",)
    action_form = WithReason

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Read the replaying orders in one query instead of one per letter."""
        letters: QuerySet[DeadLetter] = super().get_queryset(request)
        return letters.prefetch_related("order__replayed_as")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], search_term: str
    ) -> tuple[QuerySet[DeadLetter], bool]:
        """Find the letters of orders by a prefix of one of the orders' ids."""
        return (queryset.filter(order__in=search.orders(search_term)) if search_term else queryset), False

    def get_urls(self) -> list[URLPattern]:
        """Add the URL that the button on a letter's page posts to."""
        view = self.admin_site.admin_view(self.replay_view)
        return [path("<int:pk>/replay/", view, name="orders_deadletter_replay"), *super().get_urls()]

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Require permission to change dead letters; permission to view them is not enough."""
        return request.user.has_perm("orders.change_deadletter")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the history and the replay button to the page."""
        letter: DeadLetter = context["original"]
        context["timeline"] = told(list(map(event_codec.today, letter.history)))
        context["may_replay"] = self.has_replay_permission(request) and may_be_asked(letter)
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    @admin.action(description="Replay", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Replay the selected letters of this page."""
        # The list offers no "select all"; a crafted request for all is limited to one page.
        for letter in queryset[: self.list_per_page]:
            self.replay(request, letter)

    def replay_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Replay one letter and return to its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_replay_permission(request):
            raise PermissionDenied
        self.replay(request, get_object_or_404(DeadLetter, pk=pk))
        return HttpResponseRedirect(reverse("admin:orders_deadletter_change", args=[pk]))

    def replay(self, request: HttpRequest, letter: DeadLetter) -> None:
        """Replay one letter; report the new order or the refusal, and log either."""
        if not reason_of(request):
            messages.error(request, "Not replayed: give a reason for the audit log.")
            return
        try:
            placed = dead_letters.replay(str(letter.order_id), by=request.user.get_username())
        except dead_letters.NotSafe as reason:
            self.log_change(request, letter, f"Replay refused: {reason}")
            messages.error(request, f"Not replayed: {reason}.")
            return
        again = link(Order(pk=placed.order_id))
        if placed.repeat:
            messages.info(request, format_html("{} was already replayed as {}.", letter.order_id, again))
            return
        self.log_change(request, letter, f"Replayed as {placed.order_id}.")
        messages.success(request, format_html("{} replayed as {}.", letter.order_id, again))

    @admin.display(description="replay")
    def replay_is(self, letter: DeadLetter) -> str:
        """Show whether a replay is safe."""
        return str(dead_letters.outlook(letter).label)

    @admin.display(description="order")
    def of(self, letter: DeadLetter) -> SafeString | str:
        """Link to the order that failed."""
        return link(letter.order)

    @admin.display(description="created (UTC)")
    def created(self, letter: DeadLetter) -> str:
        return moment(letter.created_at)

    @admin.display(description="replayed as")
    def replayed(self, letter: DeadLetter) -> SafeString | str:
        """Link to the order that replays it, with the time of the replay."""
        again: Order | ArchivedOrder | None = next(iter(letter.order.replayed_as.all()), None)
        if again is None and letter.replayed_at:
            again = ArchivedOrder.objects.filter(replay_of=letter.order_id).first()
        return format_html("{}<br>{}", link(again), moment(letter.replayed_at)) if again else link(None)
