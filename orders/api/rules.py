"""What a waiting order waits for, and how long: the rules by which its fields must fit one another and the pair."""

from decimal import Decimal

from engine.money import MATHS, U64_MAX, plain
from engine.money import shown as in_tokens
from engine.orders import Order, OrderType, TimeInForce
from engine.quotes import Pair
from engine.triggers import LEVEL_MAX, nearest_ticks, on_tick
from routing.catalogue import Catalogue, is_mint

APPLIES = {
    "limitPrice": (OrderType.LIMIT,),
    "timeInForce": (OrderType.LIMIT, OrderType.SNIPER),
    "expiresAt": (OrderType.LIMIT, OrderType.SNIPER),
    "trigger": (OrderType.SNIPER,),
    "maxPrice": (OrderType.SNIPER,),
    "allowUnknown": (OrderType.SNIPER,),
    "amountOut": (OrderType.MARKET,),
}
"""Types of order that have a field; the others all have."""
NEEDS = {OrderType.LIMIT: "limitPrice", OrderType.SNIPER: "trigger"}
"""What an order of this type cannot be without."""
NEW_POOLS_SELL_FOR = ("SOL", "USDC")
"""Tokens that new pools are paired with."""


class BadTerm(ValueError):
    """A field does not fit the others or the pair; the message reads on after the field's name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


def inapplicable(field: str, kind: OrderType) -> str | None:
    """Say that orders of this type have no such field, if so."""
    return None if kind in APPLIES.get(field, (kind,)) else f"does not apply to a {kind} order"


def on_the_tick(price: Decimal, pair: Pair) -> Decimal:
    """Pass a limit price the book can hold, without trailing zeros.

    Raises BadTerm.
    """
    highest = MATHS.multiply(Decimal(LEVEL_MAX), pair.tick)
    if price <= 0:
        raise BadTerm("limitPrice", "must be greater than zero")
    if price > highest:
        raise BadTerm("limitPrice", f"must be at most {plain(highest)}")
    if not on_tick(price, pair.tick):
        raise BadTerm("limitPrice", f"is not on the tick of {plain(pair.tick)}; {nearest(price, pair)}")
    return MATHS.normalize(price)


def nearest(price: Decimal, pair: Pair) -> str:
    """Name the prices on the tick around one that is not, with as many decimals as the tick has."""
    below, above = nearest_ticks(price, pair.tick)
    return f"the nearest are {below:f} and {above:f}" if below < above else f"the least is {above:f}"


def lifetime(asked: TimeInForce | None, expires_at: int | None, kind: OrderType) -> TimeInForce:
    """Return how long an order waits, given what was asked for.

    Raises BadTerm when that contradicts itself.
    """
    if asked is TimeInForce.IOC and kind is not OrderType.LIMIT:
        raise BadTerm("timeInForce", f"ioc does not apply to a {kind} order")
    if expires_at is None:
        if asked is TimeInForce.GTD:
            raise BadTerm("expiresAt", "is required with timeInForce gtd")
        return asked or TimeInForce.GTC
    if asked not in (None, TimeInForce.GTD):
        raise BadTerm("expiresAt", f"is not allowed with timeInForce {asked}")
    return TimeInForce.GTD


def payable(order: Order, field: str) -> Order:
    """Pass an order whose price asks for no more than its token can have; `field` is what would be wrong.

    Raises BadTerm.
    """
    token = order.pair.token_out
    # Of a token that is not listed the decimals are not known, nor so what an amount of it is.
    if token.listed and order.floor_out > U64_MAX:
        raise BadTerm(field, f"exceeds the maximum of {in_tokens(U64_MAX, token)} {token.symbol}")
    return order


def traded(known: Catalogue, token_in: str, token_out: str) -> Pair | str:
    """Return the active pair of two known tokens, or what is wrong with it."""
    sold, bought = known.tokens[token_in], known.tokens[token_out]
    if sold == bought:
        return "is the same token as tokenIn"
    name = f"{sold.symbol}-{bought.symbol}"
    if name in known.active:
        return known.active[name]
    if name in known.pairs:
        return f"is no longer traded for {sold.symbol}: the pair {name} is not active"
    return f"cannot be bought with {sold.symbol}: {name} is not a traded pair"


def pair_of(known: Catalogue, token_in: str, token_out: str) -> Pair:
    """Return the pair an order trades: an active one, or that of a token still to be listed.

    Raises BadTerm.
    """
    if token_out not in known.tokens:
        return to_come(known, token_in, token_out)
    pair = traded(known, token_in, token_out)
    if isinstance(pair, str):
        raise BadTerm("tokenOut", pair)
    return pair


def to_come(known: Catalogue, token_in: str, mint: str) -> Pair:
    """Return the pair of a mint that is not in the catalogue.

    Raises BadTerm.
    """
    sold = known.tokens[token_in]
    if sold.symbol not in NEW_POOLS_SELL_FOR:
        only = " or ".join(NEW_POOLS_SELL_FOR)
        raise BadTerm("tokenIn", f"must be {only} to buy an unlisted token: new pools are paired with these")
    return known.pair(f"{sold.symbol}-{mint}")


def may_be_bought(known: Catalogue, token: str, kind: object) -> bool:
    """Tell whether an order of this type may name a token: only a sniper order waits for one still to be listed."""
    return token in known.tokens or (kind == OrderType.SNIPER and is_mint(token))
