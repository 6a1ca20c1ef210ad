"""Tokens and pairs: what is traded.  They belong to routing, but a change is announced by orders.control."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from solders.pubkey import Pubkey

from orders import control
from routing.models import Pair, Token

# A symbol is half of a pair's name (SOL-USDC), which is part of addresses and of Redis keys.
SYMBOL = RegexValidator(r"^[A-Za-z0-9]+\Z", "A symbol is letters and digits.")


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """A token whose mint is a Solana address."""

    def clean_mint(self) -> str:
        """Let a public key pass."""
        mint = str(self.cleaned_data["mint"])
        try:
            Pubkey.from_string(mint)
        except ValueError:
            raise forms.ValidationError("A mint is a Solana address: 32 bytes in base58.") from None
        return mint

    def clean_symbol(self) -> str:
        """Let a symbol pass that can stand in a pair's name."""
        symbol = str(self.cleaned_data["symbol"])
        SYMBOL(symbol)
        return symbol


class Announced(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows of the catalogue: every change is announced once it is committed."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and announce."""
        super().save_model(request, obj, form, change)
        transaction.on_commit(control.catalogue_changed)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete, and announce."""
        super().delete_model(request, obj)
        transaction.on_commit(control.catalogue_changed)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete several, and announce."""
        super().delete_queryset(request, queryset)
        transaction.on_commit(control.catalogue_changed)


@admin.register(Token)
class TokenAdmin(Announced):
    """Tokens by mint; one that a pair trades stays as it is and cannot be deleted."""

    form = TokenForm
    list_display = ("symbol", "mint", "decimals")
    search_fields = ("symbol", "mint")

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        """Fix the mint for good; symbol and decimals too, once orders may be kept under them."""
        if obj is None:
            return ()
        traded = Pair.objects.filter(Q(token_in=obj) | Q(token_out=obj)).exists()
        return ("mint", "symbol", "decimals") if traded else ("mint",)


@admin.register(Pair)
class PairAdmin(Announced):
    """Directed pairs, traded while active; orders are kept under a pair's name, so none is deleted or renamed."""

    list_display = ("name", "active")
    list_filter = ("active",)
    list_select_related = ("token_in", "token_out")
    search_fields = ("token_in__symbol", "token_out__symbol")
    fields = ("token_in", "token_out", "active")
    actions = ("activate", "deactivate")

    def get_readonly_fields(self, request: HttpRequest, obj: Pair | None = None) -> tuple[str, ...]:
        """Fix the tokens once the pair exists."""
        return ("token_in", "token_out") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: an order may outlive its pair's activity, not its pair."""
        return False

    @admin.display(ordering="token_in__symbol")
    def name(self, pair: Pair) -> str:
        """Show the pair as clients write it."""
        return str(pair)

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Pair]) -> None:
        """Have these pairs traded from now on."""
        self.switch(request, queryset, active=True)

    @admin.action(description="Deactivate: accept no more orders", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Pair]) -> None:
        """Accept no more orders for these pairs; those accepted go on."""
        self.switch(request, queryset, active=False)

    def switch(self, request: HttpRequest, queryset: QuerySet[Pair], *, active: bool) -> None:
        """Set whether these pairs are traded, announce it, and put it on record."""
        with transaction.atomic():
            for pair in queryset.exclude(active=active):
                pair.active = active
                pair.save(update_fields=["active"])
                self.log_change(request, pair, "Activated." if active else "Deactivated.")
            transaction.on_commit(control.catalogue_changed)
