"""What the API answers about tokens, pairs, prices, balances and positions, one class for each answer."""

from typing import Annotated

from msgspec import Meta

from engine.event_kinds import Count, Decimals, Moment, PairName, Value, Venue
from orders.api.answers import Above0, TokenName
from routing.candles import BEST
from routing.venues import VENUES

Mint = Annotated[str, Meta(pattern="^[1-9A-HJ-NP-Za-km-z]{32,44}$")]
PRICED = (*VENUES, BEST)
"""Whose prices are recorded."""
INTERVALS = ("1s", "1m")


class Quote(Value, frozen=True):
    """A venue's last quote."""

    venue: Venue
    price: Decimals
    fee_bps: Count
    net_price: Decimals
    observed_at: Moment
    age_ms: Count


class Quotes(Value, frozen=True):
    """What is known of a pair."""

    pair: PairName
    best: Quote | None
    fresh: Annotated[bool, Meta(description="Whether BEST is fresh enough to route on.")]
    quotes: tuple[Quote, ...]


class Token(Value, frozen=True):
    """A token."""

    symbol: TokenName
    mint: Mint
    decimals: Count


class Pair(Value, frozen=True):
    """A pair that is traded, in this direction."""

    pair: PairName
    token_in: Token
    token_out: Token
    tick: Annotated[Decimals, Meta(description="Limit prices of this pair are multiples of this.")]


class Pairs(Value, frozen=True):
    """What is traded."""

    results: tuple[Pair, ...]


class Candle(Value, frozen=True):
    """The prices after fee of one interval in which there were quotes."""

    at: Annotated[Moment, Meta(description="When the interval begins.")]
    open: Decimals
    high: Decimals
    low: Decimals
    close: Decimals
    quotes: Annotated[Above0, Meta(description="Quotes it was made of.")]


class Candles(Value, frozen=True):
    """Recorded prices after fee of a pair, oldest first; an interval without a quote is left out."""

    pair: PairName
    venue: Annotated[str, Meta(extra_json_schema={"enum": list(PRICED)})]
    interval: Annotated[str, Meta(extra_json_schema={"enum": list(INTERVALS)})]
    candles: tuple[Candle, ...]


class Balance(Value, frozen=True):
    """What an account has of a token, in whole tokens."""

    token: TokenName
    total: Decimals
    reserved: Annotated[Decimals, Meta(description="What open orders sell.")]
    available: Annotated[Decimals, Meta(description="What another order may sell: `total` less `reserved`.")]
    value: Annotated[Decimals | None, Meta(description="Of the total in US dollars, while a venue quotes it in USDC.")]


class Balances(Value, frozen=True):
    """What an account has."""

    results: tuple[Balance, ...]


class Position(Value, frozen=True):
    """What an account's fills in one market have come to; money is in whole quote tokens, the venues' fees included."""

    token: Annotated[TokenName, Meta(description="The token that is held.")]
    quote_token: Annotated[TokenName, Meta(description="The token that it is priced in.")]
    amount: Annotated[Decimals, Meta(description="Bought by fills and not sold yet.")]
    average_cost: Annotated[Decimals | None, Meta(description="Of one token; null while nothing is held.")]
    cost: Annotated[Decimals, Meta(description="Of the amount.")]
    price: Annotated[Decimals | None, Meta(description="What a sale gets now, after fee; null without a fresh price.")]
    value: Annotated[Decimals | None, Meta(description="Of the amount at `price`, without price impact.")]
    unrealised: Annotated[Decimals | None, Meta(description="`value` less `cost`.")]
    realised: Annotated[Decimals, Meta(description="What sales received less their average cost.")]
    bought: Decimals
    spent: Annotated[Decimals, Meta(description="On what was bought.")]
    sold: Decimals
    received: Annotated[Decimals, Meta(description="For what was sold.")]
    uncosted: Annotated[Decimals, Meta(description="Sold beyond what was bought, at no known cost and without result.")]
    fees: Annotated[Decimals, Meta(description="Of the venues.")]
    shortfall: Annotated[Decimals, Meta(description="What fills cost beyond the quotes they were routed on.")]
    shortfall_bps: Annotated[Decimals | None, Meta(description="The same, of the value as quoted.")]


class Positions(Value, frozen=True):
    """What an account's fills have come to."""

    results: tuple[Position, ...]


MARKET = (Quotes, Pairs, Candles, Balances, Positions)
"""The answers; the others are within them."""
