"""The tape, the record of market events: owner of every `market:` key.

`market:events` is the stream of all events, read through the consumer group `sniper`.  `market:{mint}` is a hash of the
token's pools and their liquidity, `market:{mint}:trades` a sorted set of its trades by time; the braces are literal,
and the scripts in routing/lua/ document the details.  Postgres keeps a copy of the hash (routing/markets.py), so that
its data is restored on the next read after Redis was emptied or came back in an older state.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from django.db import DatabaseError

from engine.market import EventKind, MarketEvent
from engine.quotes import AHEAD_MAX_MS
from engine.triggers import WINDOW_MAX_S, TokenState
from routing import markets
from routing.group import Group
from routing.markets import KEEP_S, Shown
from routing.risk_limits import risk_limits
from routing.store import CLOCK, lua, now_ms, script

log = structlog.get_logger(__name__)

EVENTS = "market:events"
GROUP = "sniper"
group = Group(EVENTS, GROUP)

EVENTS_MAX = 50_000
"""Approximate maximum entries of the stream; older ones are dropped, read or not."""
TRADES_MAX = 50_000
"""Maximum trades kept per token: the newest ones."""
POOLS_MAX = 200
"""Maximum pools counted per token; the next liquidity reading includes the liquidity of further ones."""


Entry = tuple[str, MarketEvent]
"""An event with its id in the stream, by which it is acknowledged."""

LUA = Path(__file__).parent / "lua"
PREFIX = CLOCK + lua(LUA / "market.lua")
PUBLISH = script(PREFIX + lua(LUA / "publish.lua"))
RESTORE = script(PREFIX + lua(LUA / "restore.lua"))
STATES = script(PREFIX + lua(LUA / "states.lua"))
pack = msgspec.msgpack.Encoder().encode


def limits(**more: int) -> bytes:
    """Encode the limits argument of the scripts."""
    return pack({"keep": KEEP_S, "pools": POOLS_MAX, "ahead": AHEAD_MAX_MS, **more})


def publish(events: Iterable[MarketEvent]) -> None:
    """Publish these events to the stream and update the tokens' market data, atomically.

    Repeated after a lost reply it changes no market data; readers get the events again.  Postgres is updated
    afterwards, once for the whole batch.  That is done here because the data is available, the events are already out,
    and the latency-critical sniper worker does not have to do it.  Trades change nothing that Postgres keeps.
    """
    batch = [pack(event) for event in events]
    if not batch:
        return
    bounds = limits(entries=EVENTS_MAX, window=WINDOW_MAX_S * 1000, trades=TRADES_MAX)
    doubted, touched = PUBLISH()([], [bounds, *batch])
    if doubted:
        now_ms.doubt()
        log.warning("market events with a future timestamp ignored", events=doubted)
    keep(touched)


Summary = list[Any]
"""A script's answer for a token: mint, whether Redis has all that Postgres has, pools, liquidity and its time."""


def keep(touched: Sequence[Summary]) -> None:
    """Save the market data of these tokens in Postgres; if that fails, the token's next event saves it."""
    if not touched:
        return
    try:
        # Restore lost data first: otherwise a pool reported since the loss would pass for all pools of the token.
        lost = restore([mint for mint, compared, *_ in touched if not compared])
        shown = [shown_by(one) for one in (*(one for one in touched if one[1]), *lost) if one[3]]
        if shown:
            markets.save(shown, now_ms())
    except DatabaseError as reason:
        log.warning("market data not saved, the next events will save it", reason=str(reason))


def shown_by(summary: Summary) -> Shown:
    """Parse the summary of a token with known liquidity."""
    mint, _, pools, liquidity, at = summary
    return Shown(mint, int(pools), int(liquidity), int(at))


def restore(mints: Collection[str]) -> list[Summary]:
    """Merge the market data that Postgres keeps of these tokens into Redis; return the resulting summaries.

    Raises DatabaseError.
    """
    if not mints:
        return []
    kept = {one.mint: one for one in markets.load(mints)}
    restored: list[Summary] = RESTORE()([], [limits(), *(pack(told(mint, kept.get(mint))) for mint in mints)])
    if kept:
        log.info("market data restored to redis", tokens=len(kept))
    return restored


def told(mint: str, kept: Shown | None) -> dict[str, Any]:
    """Return a token's data from Postgres in the format of restore.lua."""
    if kept is None:
        return {"mint": mint}
    worth = {} if kept.liquidity is None else {"liquidity": str(kept.liquidity)}
    return {"mint": mint, "pools": kept.pools, "at": str(kept.at), **worth}


def states(asked: Mapping[str, Iterable[int]], now: int) -> dict[str, TokenState]:
    """Return each token's state, by mint, with the volumes in the requested windows, in one round trip.

    A window in milliseconds covers (now - window, now].  Data that Redis has lost is restored from Postgres first; only
    in that case can DatabaseError be raised.  Liquidity older than SNIPE_MARKET_AGE_S is unknown.
    """
    windows = {mint: list(dict.fromkeys(lengths)) for mint, lengths in asked.items()}
    found = look(windows, now)
    if lost := {mint: windows[mint] for mint, (compared, *_) in found.items() if not compared}:
        restore(lost)
        found |= look(lost, now)
    return {
        mint: TokenState(
            int(pools), int(worth) if worth else None, dict(zip(windows[mint], map(int, sums), strict=True))
        )
        for mint, (_, pools, worth, *sums) in found.items()
    }


def look(windows: Mapping[str, list[int]], now: int) -> dict[str, list[Any]]:
    """Read the market data of these tokens from Redis."""
    if not windows:
        return {}
    bounds = limits(at=now, age=risk_limits.SNIPE_MARKET_AGE_S * 1000)
    tokens = (pack({"mint": mint, "windows": lengths}) for mint, lengths in windows.items())
    return dict(zip(windows, STATES()([], [bounds, *tokens]), strict=True))


def rounds(reader: str) -> Iterator[list[Entry]]:
    """Yield batches of events: those left by dead readers, this reader's unacknowledged ones, then new ones.

    Each entry is delivered once per call.  An unacknowledged entry is delivered again by the next call or, after a
    timeout, to another reader.
    """
    group.take_over(reader)
    after = "0"
    while entries := group.read(reader, after):
        after = entries[-1][0]
        if events := readable(entries):
            yield events
    while entries := group.read(reader, ">"):
        if events := readable(entries):
            yield events


def readable(entries: Iterable[tuple[str, dict[str, str]]]) -> list[Entry]:
    """Parse entries; an unreadable one is logged and acknowledged, so that it is not delivered again."""
    events: list[Entry] = []
    for entry_id, fields in entries:
        try:
            events.append((entry_id, event_from(fields)))
        except (KeyError, ValueError) as reason:
            # An entry that was trimmed before it was read has no fields.
            log.error("market event cannot be read", entry=entry_id, content=str(fields)[:500], reason=repr(reason))
            group.ack([entry_id])
    return events


def event_from(fields: Mapping[str, str]) -> MarketEvent:
    """Parse an event written by `publish`.

    Raises KeyError or ValueError if it is not an event.
    """
    return MarketEvent(
        id=fields["id"],
        kind=EventKind(fields["kind"]),
        mint=fields["mint"],
        venue=fields["venue"],
        amount=int(fields["amount"]),
        at=int(fields["at"]),
    )
