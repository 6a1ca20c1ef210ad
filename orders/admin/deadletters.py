"""Dead letters: orders that failed for good, and their replay."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.admin import search
from orders.admin.readonly import ReadOnly
from orders.admin.recorded import reason_of
from orders.admin.timeline import told
from orders.admin.wording import badge, link, moment
from orders.flow import dead_letters
from orders.flow.dead_letters import LETTERS, OPEN, Outlook
from orders.models import DeadLetter, Order
from orders.operations import replays
from orders.operations.words import age, asked
from orders.stores import event_codec

LIST, PAGE, REPLAY = (f"admin:orders_deadletter_{name}" for name in ("changelist", "change", "replay"))
EVERY = "all"
REASON = UnfoldAdminTextInputWidget({"placeholder": "reason, for the audit log", "required": True, "maxlength": 200})


class ByOutlook(admin.SimpleListFilter):
    """Letters by the outlook of a replay; those that were replayed are left out unless asked for or searched."""

    title = parameter_name = "replay"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self.searches = bool(request.GET.get(SEARCH_VAR))

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((one.value, str(one.label)) for one in Outlook), (EVERY, "all")]

    def choices(self, changelist: Any) -> Any:
        """Name the choice that is none of the lookups for what it shows."""
        default, *others = super().choices(changelist)
        return [{**default, "display": "not replayed"}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        asked = self.value()
        if asked in Outlook.values:
            return queryset.filter(LETTERS[Outlook(asked)])
        return queryset if asked == EVERY or self.searches else queryset.filter(OPEN)


def may_be_asked(letter: DeadLetter) -> bool:
    """Tell whether to offer a replay: an open attempt may have ended since, but what cannot help never will."""
    return letter.replayed_at is None and letter.replay_may_help


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    """Why each order failed for good, whether a replay is safe, and what came of it."""

    list_display = ("id", "of", "pair", "amount", "age", "owner", "code", "reason", "replay_is", "replayed")
    list_filter = (ByOutlook, "created_at")
    list_select_related = ("order__owner",)
    search_fields = ("order",)
    search_help_text = "The beginning of an order id, a client order id or a transaction hash."
    fields = ("of", "pair", "amount", "owner", "code", "reason", "replay_is", "created", "replayed", "replayed_by")
    readonly_fields = (*fields, "age")
    actions = ("replay_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Read the orders, their owners and what replays them in as many queries for a page as for one letter."""
        letters: QuerySet[DeadLetter] = super().get_queryset(request)
        return letters.select_related("order__owner").prefetch_related("order__replayed_as")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], search_term: str
    ) -> tuple[QuerySet[DeadLetter], bool]:
        """Find the letters of orders by a prefix of one of the orders' ids."""
        return (queryset.filter(order__in=search.orders(search_term)) if search_term else queryset), False

    def get_urls(self) -> list[URLPattern]:
        """Add the page that comes before a replay."""
        view = self.admin_site.admin_view(self.replay_view)
        return [path("replay/", view, name="orders_deadletter_replay"), *super().get_urls()]

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Require permission to change dead letters; permission to view them is not enough."""
        return request.user.has_perm("orders.change_deadletter")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the history, and the way to the replay, to the page."""
        letter: DeadLetter = context["original"]
        context["timeline"] = told(list(map(event_codec.today, letter.history)))
        if self.has_replay_permission(request) and may_be_asked(letter):
            context["replay_page"] = replay_page([letter.pk])
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    @admin.action(description="Replay", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        """Show what to weigh before the selected letters of this page are replayed."""
        # The list offers no "select all"; a crafted request for all is limited to one page.
        return HttpResponseRedirect(replay_page(queryset.values_list("pk", flat=True)[: self.list_per_page]))

    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Show what to weigh before a replay; replay the letters when that is confirmed with a reason."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        letters = self.asked_for(request)
        if request.method != "POST":
            found = [replays.assess(letter) for letter in letters]
            may = sum(not one.refusal for one in found)
            context = {"title": "Replay", "found": found, "may": may, "reason": REASON.render("reason", "")}
            page = self.admin_site.each_context(request) | {"opts": self.opts} | context
            return TemplateResponse(request, "admin/orders/deadletter/replay.html", page)
        if not reason_of(request):
            messages.error(request, "Not replayed: give a reason for the audit log.")
            return HttpResponseRedirect(replay_page(letter.pk for letter in letters))
        for letter in letters:
            self.replay(request, letter)
        alone = len(letters) == 1
        return HttpResponseRedirect(
            reverse(PAGE, args=[letters[0].pk]) if alone else reverse(LIST) + "?replay=replayed"
        )

    def asked_for(self, request: HttpRequest) -> list[DeadLetter]:
        """Return the letters that the request names, at most a page of them.

        Raises Http404 if there is none of these.
        """
        named = (request.POST if request.method == "POST" else request.GET).getlist("letter")
        numbers = [int(one) for one in named if one.isascii() and one.isdigit() and len(one) < 19]
        letters = list(self.get_queryset(request).filter(pk__in=numbers).order_by("pk")[: self.list_per_page])
        if not letters:
            raise Http404("there is no such dead letter")
        return letters

    def replay(self, request: HttpRequest, letter: DeadLetter) -> None:
        """Replay one letter; report the new order or the refusal, and log either."""
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

    @admin.display
    def pair(self, letter: DeadLetter) -> str:
        return letter.order.pair

    @admin.display
    def amount(self, letter: DeadLetter) -> str:
        """Show the amount to sell in whole tokens."""
        return asked(letter.order)

    @admin.display
    def age(self, letter: DeadLetter) -> str:
        return age(letter.created_at, timezone.now())

    @admin.display
    def owner(self, letter: DeadLetter) -> str:
        """Show the account that placed the order."""
        return replays.owner(letter.order)

    @admin.display(description="created (UTC)")
    def created(self, letter: DeadLetter) -> str:
        return moment(letter.created_at)

    @admin.display(description="replayed as")
    def replayed(self, letter: DeadLetter) -> SafeString | str:
        """Link to the order that replays it, with what came of that."""
        again = replays.again(letter)
        if again is None:
            return link(None)
        # A link to an order that is archived by now leads on to the archive.
        return format_html(
            "{} {}<br>{}<br>{}", link(again), badge(again.status), replays.outcome(again), moment(letter.replayed_at)
        )


def replay_page(numbers: Any) -> str:
    """Return the address of the page that comes before the replay of these letters."""
    return f"{reverse(REPLAY)}?{urlencode([('letter', number) for number in numbers])}"
