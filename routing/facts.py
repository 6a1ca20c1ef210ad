"""The facts that token checks use: from the tokens' rows, and the liquidity last reported on the tape."""

from collections.abc import Mapping
from datetime import timedelta

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from engine.token_checks import TokenFacts
from engine.triggers import TokenState
from routing.models import Token
from routing.risk_limits import risk_limits


def facts(states: Mapping[str, TokenState]) -> dict[str, TokenFacts]:
    """Return the facts of tokens by mint, given their market states; all facts of an unlisted token are unknown.

    Facts looked up more than SNIPE_FACTS_AGE_DAYS ago are unknown.  Raises DatabaseError.
    """
    rows = Token.objects.filter(mint__in=states).annotate(believed=believed())
    known = {row.mint: looked_up(row, states[row.mint]) for row in rows}
    return {mint: known.get(mint, TokenFacts()) for mint in states}


def believed() -> "ExpressionWrapper[Q]":
    """Return a query expression for whether a token's facts are recent; both times are by Postgres' clock."""
    lately = Q(facts_at__gte=Now() - timedelta(days=risk_limits.SNIPE_FACTS_AGE_DAYS))
    return ExpressionWrapper(lately, output_field=BooleanField())


def looked_up(row: Token, state: TokenState) -> TokenFacts:
    """Return one token's facts: those of its row if they are recent, and its liquidity."""
    if not row.believed:  # type: ignore[attr-defined]
        return TokenFacts(liquidity=state.liquidity)
    return TokenFacts(row.mint_authority, row.freeze_authority, state.liquidity, row.top_holder_bps)
