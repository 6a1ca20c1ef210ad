"""What is known of a token before it is bought: its row, and what the tape last said its pools are worth."""

from engine.gates import TokenFacts
from engine.triggers import TokenState
from routing.models import Token


def facts(mint: str, state: TokenState | None) -> TokenFacts:
    """Return a token's facts; of one that is not listed nothing is known.

    Raises DatabaseError.
    """
    row = Token.objects.filter(mint=mint).first()
    if row is None:
        return TokenFacts()
    return TokenFacts(
        mint_authority=row.mint_authority,
        freeze_authority=row.freeze_authority,
        liquidity=state.liquidity if state else None,
        top_holder_bps=row.top_holder_bps,
    )
