"""What an operator weighs before a dead letter is replayed, and what came of it: for the admin and the terminal.

Nothing is changed here; orders/flow/dead_letters.py places the new order, and judges again when it does.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from engine.events import moment
from engine.lifecycle import OPEN_ATTEMPT, AttemptState, Status
from engine.money import MATHS, plain, shown
from engine.orders import Order, OrderType
from engine.quotes import CannotFill, NoQuote, Quote, best, offers
from orders import models
from orders.flow import dead_letters, trading_limits
from orders.flow.pauses import pauses
from orders.models import DeadLetter, Verdict
from orders.operations import words
from orders.operations.words import NOTHING, bought
from orders.stores import event_codec, retired
from orders.stores.terms import epoch_ms, order_of
from routing import away, candles, outages, quotes
from routing.candles import Interval
from routing.catalogue import UnknownPair
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms
from routing.venues import VENUES

UNKNOWN, NO_PRICE = "unknown", "no price"
UNFILLABLE = (UNKNOWN, NO_PRICE)
DOUBTS = dict.fromkeys(OrderType, "the new order would rest") | {
    OrderType.MARKET: "the new order would wait for a quote, and fail at its deadline without one"
}
"""What becomes of a replay that cannot be filled now."""
RECORDED = {Interval.SECOND: 600, Interval.MINUTE: 3_600}
"""How far before an order's failure a recorded price still is one of then, in seconds."""
DEAD = {
    AttemptState.REJECTED: "rejected by the chain for good",
    AttemptState.EXPIRED: "past the last block at which it could land, and unknown to the chain",
    AttemptState.WITHDRAWN: "withdrawn before it was sent",
}
"""Why an attempt can never land, by its state."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """One dead letter before its replay, in sentences; `refusal` is empty if a replay would be accepted now.

    `doubt` is empty unless it would be accepted and could not be filled now.
    """

    letter: DeadLetter
    asked: str
    then: str
    now: str
    venues: tuple[str, ...]
    execution: str
    refusal: str
    doubt: str


@dataclass(frozen=True, slots=True)
class Then:
    """The price when an order failed, after the venue's fee, if it is known; and the sentence about it."""

    price: Decimal | None
    said: str


def assess(letter: DeadLetter) -> Assessment:
    """Judge a dead letter anew, with the prices of then and now.

    Raises DatabaseError. While Redis is away the prices of now are unknown.
    """
    attempts = list(letter.order.attempts.order_by("number"))
    letter.verdict = dead_letters.verdict(letter.order, [one.state for one in attempts])
    then = price_then(letter)
    now, venues = market(letter, then)
    refused = refusal(letter)
    order = letter.order
    doubt = "" if refused or not now.startswith(UNFILLABLE) else f"{now}; {DOUBTS[OrderType(order.type)]}"
    asked = f"{order.type} order of {owner(order)} to sell {words.asked(order)} in {order.pair}"
    return Assessment(letter, asked, then.said, now, venues, execution(letter, attempts), refused, doubt)


def price_then(letter: DeadLetter) -> Then:
    """Return the price that the failed order was last routed at, else the last one recorded before it failed."""
    told = list(map(event_codec.today, letter.history))
    if routed := next((event for event in reversed(told) if event.get("quotes")), None):
        won = routed["quotes"][0]
        return Then(Decimal(won["netPrice"]), f"{won['netPrice']} after fee at {won['venue']}, {routed['at']}")
    failed_at = int(datetime.fromisoformat(told[-1]["at"]).timestamp())
    for interval, back_s in RECORDED.items():
        if found := candles.read(letter.order.pair, candles.BEST, interval, failed_at - back_s, failed_at + 1):
            last = found[-1]
            price = plain(MATHS.normalize(last.close))
            return Then(last.close, f"{price} after fee, last recorded {moment(last.at * 1000)}; never routed")
    return Then(None, "no price: the order was never routed, and none was recorded before it failed")


def market(letter: DeadLetter, then: Then) -> tuple[str, tuple[str, ...]]:
    """Say the best price now beside that of then, and of each venue whether it quotes."""
    try:
        order, now = order_of(letter.order), now_ms()
        known = quotes.cached([order.pair.name])[order.pair.name].quotes
    except UnknownPair:
        return f"{UNKNOWN}: {letter.order.pair} is no longer in the catalogue", ()
    except StoreError as reason:
        return f"{UNKNOWN}: Redis does not answer: {away.why(reason)}", ()
    by_venue = {quote.venue: quote for quote in known}
    fresh = best(quote for quote in known if quote.age(now) <= risk_limits.QUOTE_FRESH_MS)
    return price_now(fresh, then), tuple(venue_now(name, by_venue.get(name), order, now) for name in VENUES)


def price_now(fresh: Quote | None, then: Then) -> str:
    """Say the best price now, and how far it is from that of then."""
    if fresh is None:
        return f"{NO_PRICE}: no venue has a fresh quote"
    said = f"{plain(fresh.net_price)} after fee at {fresh.venue}"
    if not then.price:
        return said
    percent = MATHS.multiply(MATHS.divide(fresh.net_price, then.price) - 1, Decimal(100)).quantize(Decimal("0.01"))
    return f"{said}, {abs(percent)} % {'better' if percent > 0 else 'worse'} for this order" if percent else said


def venue_now(name: str, quote: Quote | None, order: Order, now: int) -> str:
    """Say whether a venue quotes now, and what it would pay for this order's amount."""
    if stopped := outages.paused().get(name):
        return stopped
    if quote is None:
        return f"{name} does not quote"
    age = quote.age(now)
    if age > risk_limits.QUOTE_FRESH_MS:
        return f"{name} does not quote now; its last quote is {age / 1000:.1f} s old"
    try:
        (offer,) = offers([quote], order.amount_in, order.amount_out)
    except (CannotFill, NoQuote) as reason:
        return f"{name} quotes, but cannot fill this amount: {reason}"
    token_in, token_out = order.pair.token_in, order.pair.token_out
    pays = f"pays {shown(offer.amount_out, token_out)} {token_out.symbol}"
    takes = "" if order.amount_out is None else f" for {shown(offer.amount_in, token_in)} {token_in.symbol}"
    return f"{name} quotes {plain(quote.price)}, {age} ms old; {pays}{takes}"


def execution(letter: DeadLetter, attempts: Sequence[models.Attempt]) -> str:
    """Say why a replay cannot execute the order twice, or what stands against it."""
    order = letter.order
    if letter.verdict == Verdict.LANDED:
        landed = next(one for one in attempts if one.state == AttemptState.LANDED)
        got = bought(landed.amount_out, order.pair)
        return f"Double execution: transaction {landed.signature} landed and paid {got}. A replay would trade again."
    if open_ones := [one for one in attempts if one.state in OPEN_ATTEMPT]:
        return f"Possible double execution: transaction {open_ones[0].signature} may still land. Wait for its end."
    if order.closed_at is None:
        return "Possible double execution: the order is not closed, a transaction may still be signed. Wait."
    closed = f"the order is closed since {moment(epoch_ms(order.closed_at))}, so none can be signed any more"
    if not attempts:
        return f"No double execution: no transaction was ever signed for this order, and {closed}."
    states = Counter(AttemptState(one.state) for one in attempts)
    why = ", ".join(f"{count} {DEAD[state]}" for state, count in states.items())
    return f"No double execution: none of its {counted(len(attempts))} landed or can land ({why}), and {closed}."


def counted(transactions: int) -> str:
    return f"{transactions} transaction{'' if transactions == 1 else 's'}"


def refusal(letter: DeadLetter) -> str:
    """Return why a replay would be refused now; empty if it would be accepted."""
    try:
        dead_letters.refuse_unsafe(letter)
        order = order_of(letter.order)
    except (dead_letters.NotSafe, UnknownPair) as reason:
        return str(reason)
    if letter.replayed_at is not None:
        return f"{letter.order_id}: already replayed by {letter.replayed_by}"
    key = letter.order.api_key
    stop = pauses().keeping_out(order.pair, order.owner, key) or trading_limits.would_reject(order, key)
    return f"{letter.order_id}: {stop}" if stop else ""


def again(letter: DeadLetter) -> models.Order | None:
    """Return the order that replays a letter's, archived or not; None if it was not replayed."""
    hot: models.Order | None = next(iter(letter.order.replayed_as.all()), None)
    if hot is not None or letter.replayed_at is None:
        return hot
    kept = models.ArchivedOrder.objects.filter(replay_of=letter.order_id).first()
    return retired.order(kept) if kept else None


def outcome(order: models.Order) -> str:
    """Say what came of an order: the amounts of its fill, or why it ended without one; empty while it is open."""
    facts, (sold, _, got) = order.result, order.pair.partition("-")
    if order.status == Status.CONFIRMED:
        return (
            f"sold {facts.get('amountIn', UNKNOWN)} {sold} for {facts.get('amountOut', UNKNOWN)} {got} "
            f"at {facts.get('executedPrice', UNKNOWN)}, {facts.get('venue', order.venue)}"
        )
    if order.status == Status.FAILED:
        return f"{facts.get('message', UNKNOWN)} ({facts.get('code', UNKNOWN)})"
    return str(facts.get("reason", "")) if order.status in (Status.CANCELLED, Status.EXPIRED) else ""


def owner(order: models.Order) -> str:
    """Return the name of the account that placed an order, which was read along with it."""
    return order.owner.get_username() if order.owner else NOTHING
