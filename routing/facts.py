"""What is known of tokens before they are bought: their rows, and what the tape last said their pools are worth."""

from collections.abc import Mapping
from datetime import timedelta

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from engine.gates import TokenFacts
from engine.triggers import TokenState
from routing.guards import guards
from routing.models import Token


def facts(states: Mapping[str, TokenState]) -> dict[str, TokenFacts]:
    """Return the facts of tokens by mint, given how they stand; of one that is not listed nothing is known.

    What was looked up longer than SNIPE_FACTS_AGE_DAYS ago is unknown.  Raises DatabaseError.
    """
    rows = Token.objects.filter(mint__in=states).annotate(believed=believed())
    known = {row.mint: looked_up(row, states[row.mint]) for row in rows}
    return {mint: known.get(mint, TokenFacts()) for mint in states}


def believed() -> "ExpressionWrapper[Q]":
    """Tell, in a query, whether a token was looked up lately: both times are by Postgres' clock."""
    lately = Q(facts_at__gte=Now() - timedelta(days=guards.SNIPE_FACTS_AGE_DAYS))
    return ExpressionWrapper(lately, output_field=BooleanField())


def looked_up(row: Token, state: TokenState) -> TokenFacts:
    """Return what one token's row says, as far as it is believed, and what its pools are worth."""
    if not row.believed:  # type: ignore[attr-defined]
        return TokenFacts(liquidity=state.liquidity)
    return TokenFacts(row.mint_authority, row.freeze_authority, state.liquidity, row.top_holder_bps)
