"""Tokens and pairs that are traded. They belong to routing, but orders.flow.pauses announces their changes."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import structlog
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from engine.money import plain
from engine.quotes import Pair as TradedPair
from engine.triggers import usd
from orders.admin.recorded import Recorded
from orders.admin.wording import link, moment
from orders.flow import pauses
from routing import away, tape
from routing.catalogue import is_mint, token_of
from routing.facts import believed
from routing.models import Pair, Token
from routing.sandbox import stage
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

# A symbol is half of a pair's name (SOL-USDC), which is part of addresses and of Redis keys.
SYMBOL = RegexValidator(r"^[A-Za-z0-9]+\Z", "A symbol is letters and digits.")

UNKNOWN, NOBODY = "unknown", "nobody"
"""How the admin shows an authority: `nobody` if it was given up. In the forms, an empty field means unknown."""

SHOWN = ("looked_up", "worth")
"""The read-only fields of a token's page."""

TRADE_CENTS = 25_000_00
LIQUIDITY_CENTS = 100_000_00
"""The trade and the liquidity that the actions emit for a token, in US cents."""


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """A token whose mint is a Solana address."""

    mint_authority = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=f"Who may mint more: an address, or {NOBODY}; empty if unknown.",
    )
    freeze_authority = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=f"Who may freeze holdings: an address, or {NOBODY}; empty if unknown.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("mint_authority", "freeze_authority"):
            if self.initial.get(name) == "":
                self.initial[name] = NOBODY

    def clean_mint(self) -> str:
        """Accept only a Solana address."""
        mint = str(self.cleaned_data["mint"])
        if not is_mint(mint):
            raise forms.ValidationError("A mint is a Solana address: 32 bytes in base58.")
        return mint

    def clean_mint_authority(self) -> str | None:
        return self.authority("mint_authority")

    def clean_freeze_authority(self) -> str | None:
        return self.authority("freeze_authority")

    def authority(self, name: str) -> str | None:
        """Parse an authority: None is unknown, empty is given up."""
        said = str(self.cleaned_data[name])
        if said and said != NOBODY and not is_mint(said):
            raise forms.ValidationError(f"An authority is a Solana address, or {NOBODY}; empty if unknown.")
        return "" if said == NOBODY else said or None

    def clean_symbol(self) -> str:
        """Accept only a symbol that can be part of a pair's name."""
        symbol = str(self.cleaned_data["symbol"])
        SYMBOL(symbol)
        return symbol


class PairForm(forms.ModelForm):  # type: ignore[type-arg]
    """A pair; its tick is chosen if none is given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tick" in self.fields:
            self.fields["tick"].required = False
            self.fields["tick"].initial = None
            self.fields["tick"].help_text += "  Leave empty for a power of ten, about a ten-thousandth of the price."

    def clean(self) -> dict[str, Any]:
        """Choose a tick if none is given."""
        given = super().clean() or self.cleaned_data
        sold, bought = given.get("token_in"), given.get("token_out")
        if sold and bought and sold != bought and "tick" in given and given["tick"] is None:
            given["tick"] = stage.tick_for(TradedPair(token_of(sold), token_of(bought)))
        return given


class Announced(Recorded, ModelAdmin):  # type: ignore[misc]
    """Rows of the catalogue; every change is announced after it is committed."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        transaction.on_commit(pauses.catalogue_changed)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(pauses.catalogue_changed)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().delete_queryset(request, queryset)
        transaction.on_commit(pauses.catalogue_changed)


@admin.register(Token)
class TokenAdmin(Announced):
    """Tokens by mint; one that a pair trades keeps its symbol and decimals and cannot be deleted."""

    form = TokenForm
    list_display = ("symbol", "mint", "decimals", "minted_by", "frozen_by", "top_holder", "looked_up")
    search_fields = ("symbol", "mint")
    fields = ("mint", "symbol", "decimals", "mint_authority", "freeze_authority", "top_holder_bps", *SHOWN)
    actions = ("trade", "read_liquidity")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Token]:
        """Annotate each token with whether its facts are recent enough to be believed."""
        return super().get_queryset(request).annotate(believed=believed())  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:
        """Save the token and date its facts: saving means that they have just been looked up."""
        obj.facts_at = Now()
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        """Fix the mint once the token exists, and symbol and decimals once orders may be stored under them."""
        if obj is None:
            return SHOWN
        traded = Pair.objects.filter(Q(token_in=obj) | Q(token_out=obj)).exists()
        return ("mint", "symbol", "decimals", *SHOWN) if traded else ("mint", *SHOWN)

    def get_urls(self) -> list[URLPattern]:
        """Add the URL that the button above the list posts to."""
        view = self.admin_site.admin_view(self.launch_view)
        return [path("launch/", view, name="routing_token_launch"), *super().get_urls()]

    def launch_view(self, request: HttpRequest) -> HttpResponse:
        """Launch a new sandbox token, announce it, and return to the list."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_add_permission(request):
            raise PermissionDenied
        try:
            launched = stage.launch()
        except StoreError as reason:
            log.warning("sandbox token not published", reason=str(reason))
            gap = "a token may be listed without its pool being published"
            messages.error(request, f"Redis cannot be reached; {gap}: {away.why(reason)}")
        else:
            row = Token.objects.get(mint=launched.token.mint)
            self.log_addition(request, row, f"Launched with a pool of {usd(stage.LIQUIDITY)} USD.")
            messages.success(request, format_html("{} launched: {}.", link(row), ", ".join(launched.pairs)))
        pauses.catalogue_changed()
        return HttpResponseRedirect(reverse("admin:routing_token_changelist"))

    @admin.action(description=f"Emit a trade of {TRADE_CENTS // 100:,} USD", permissions=["change"])
    def trade(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        """Emit a trade of TRADE_CENTS of each of these tokens."""
        self.tell(request, queryset, stage.volume, TRADE_CENTS, "A trade of {} USD was emitted.")

    @admin.action(description=f"Emit liquidity {LIQUIDITY_CENTS // 100:,} USD", permissions=["change"])
    def read_liquidity(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        """Emit a liquidity of LIQUIDITY_CENTS for each of these tokens."""
        self.tell(request, queryset, stage.liquidity, LIQUIDITY_CENTS, "A liquidity of {} USD was emitted.")

    def tell(
        self,
        request: HttpRequest,
        queryset: QuerySet[Token],
        event: Callable[[str, int], object],
        cents: int,
        sentence: str,
    ) -> None:
        """Put an event of each token on the tape, and in the log."""
        said = sentence.format(usd(cents))
        # The list offers "select all", but a market seldom emits that many events at once.
        for token in queryset[: self.list_per_page]:
            try:
                event(token.mint, cents)
            except StoreError as reason:
                log.warning("sandbox market event not published", token=token.mint, reason=str(reason))
                messages.error(request, f"{token}: Redis cannot be reached: {away.why(reason)}")
                return
            self.log_change(request, token, said)
            messages.success(request, f"{token}: {said}")

    @admin.display(description="mint authority")
    def minted_by(self, token: Token) -> str:
        """Show who may mint more."""
        return authority(token.mint_authority)

    @admin.display(description="freeze authority")
    def frozen_by(self, token: Token) -> str:
        """Show who may freeze holdings."""
        return authority(token.freeze_authority)

    @admin.display(description="top holder", ordering="top_holder_bps")
    def top_holder(self, token: Token) -> str:
        """Show the largest holder's share."""
        return UNKNOWN if token.top_holder_bps is None else f"{plain(Decimal(token.top_holder_bps).scaleb(-2))} %"

    @admin.display(description="looked up", ordering="facts_at")
    def looked_up(self, token: Any) -> str:
        """Show when the authorities and the top holder were last looked up; saving the token sets this time."""
        if token._state.adding:
            return moment(None)
        return moment(token.facts_at) + ("" if token.believed else ", too old to use")

    @admin.display(description="liquidity")
    def worth(self, token: Token) -> str:
        """Show the last known value of the token's pools."""
        try:
            liquidity = tape.states({token.mint: ()}, now_ms())[token.mint].liquidity
        except StoreError:
            return UNKNOWN
        return UNKNOWN if liquidity is None else f"{usd(liquidity)} USD"


def authority(holder: str | None) -> str:
    """Format an authority."""
    return UNKNOWN if holder is None else holder or NOBODY


@admin.register(Pair)
class PairAdmin(Announced):
    """Directed pairs, traded while active. Orders are stored under a pair's name, so none is deleted or renamed."""

    form = PairForm
    list_display = ("name", "active", "price_tick")
    list_filter = ("active",)
    list_select_related = ("token_in", "token_out")
    search_fields = ("token_in__symbol", "token_out__symbol")
    actions = ("activate", "deactivate")

    def get_readonly_fields(self, request: HttpRequest, obj: Pair | None = None) -> tuple[str, ...]:
        """Make the tokens and the tick read-only once the pair exists: resting limit orders sit on the tick."""
        return ("token_in", "token_out", "price_tick") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Pair | None = None) -> tuple[str, ...]:
        """Ask for a tick only when the pair is created."""
        return ("token_in", "token_out", "price_tick" if obj else "tick", "active")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a pair may become inactive while it has orders, but it must exist."""
        return False

    @admin.display(ordering="token_in__symbol")
    def name(self, pair: Pair) -> str:
        """Show the pair as clients write it."""
        return str(pair)

    @admin.display(description="tick", ordering="tick")
    def price_tick(self, pair: Pair) -> str:
        """Show the tick, of which limit prices are whole multiples."""
        return plain(pair.tick)

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Pair]) -> None:
        """Trade these pairs from now on."""
        self.switch(request, queryset, active=True)

    @admin.action(description="Deactivate: accept no more orders", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Pair]) -> None:
        """Accept no more orders for these pairs; accepted orders continue."""
        self.switch(request, queryset, active=False)

    def switch(self, request: HttpRequest, queryset: QuerySet[Pair], *, active: bool) -> None:
        """Set whether these pairs are traded, announce it, and log it."""
        with transaction.atomic():
            for pair in queryset.exclude(active=active):
                pair.active = active
                pair.save(update_fields=["active"])
                self.log_change(request, pair, "Activated." if active else "Deactivated.")
            transaction.on_commit(pauses.catalogue_changed)
