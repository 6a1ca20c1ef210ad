"""The tape, the market's record of events: owner of every `market:` key.

`market:events` is the stream of all events; whoever acts on them reads it through the consumer group `sniper`.
`market:{mint}` is a hash of the token's pools and their worth, `market:{mint}:trades` a sorted set of what was traded,
by time; the braces are literal, and the scripts in routing/lua/ tell the rest.  Postgres keeps the former
(routing/markets.py), so that a Redis that was emptied, or came back older than it was, knows it again when it is asked.
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
from routing.guards import guards
from routing.markets import KEEP_S, Shown
from routing.store import CLOCK, lua, now_ms, script

log = structlog.get_logger(__name__)

EVENTS = "market:events"
GROUP = "sniper"
group = Group(EVENTS, GROUP)

EVENTS_MAX = 50_000
"""Entries the stream keeps, about; older ones are forgotten, read or not."""
TRADES_MAX = 50_000
"""Trades kept of one token; of more, the newest."""
POOLS_MAX = 200
"""Pools counted of one token; the worth of further ones comes with the next reading."""


Entry = tuple[str, MarketEvent]
"""An event under the id it has in the stream, by which it is acknowledged."""

LUA = Path(__file__).parent / "lua"
PREFIX = CLOCK + lua(LUA / "market.lua")
PUBLISH = script(PREFIX + lua(LUA / "publish.lua"))
RESTORE = script(PREFIX + lua(LUA / "restore.lua"))
STATES = script(PREFIX + lua(LUA / "states.lua"))
pack = msgspec.msgpack.Encoder().encode


def limits(**more: int) -> bytes:
    """Write what bounds a script."""
    return pack({"keep": KEEP_S, "pools": POOLS_MAX, "ahead": AHEAD_MAX_MS, **more})


def publish(events: Iterable[MarketEvent]) -> None:
    """Tell the market's readers of these events and bring what is known of the tokens up to date, in one step.

    Repeated after a lost reply it changes nothing; readers get the events again.  Postgres hears of it afterwards, once
    for the whole batch: here all that it needs is at hand, the event is out by then, and the sniper worker, whose time
    counts, has nothing to do with it.  Trades change nothing that Postgres keeps.
    """
    batch = [pack(event) for event in events]
    if not batch:
        return
    bounds = limits(entries=EVENTS_MAX, window=WINDOW_MAX_S * 1000, trades=TRADES_MAX)
    doubted, touched = PUBLISH()([], [bounds, *batch])
    if doubted:
        now_ms.doubt()
        log.warning("market events of a time that has not come are not believed", events=doubted)
    keep(touched)


Summary = list[Any]
"""What a script says of a token: its mint, whether Redis has all that Postgres has, pools, liquidity, its time."""


def keep(touched: Sequence[Summary]) -> None:
    """Have Postgres keep what these tokens show; what it cannot take now it gets with the token's next event."""
    if not touched:
        return
    try:
        # What was lost comes first: a pool told of since would otherwise stand for all there is.
        lost = restore([mint for mint, compared, *_ in touched if not compared])
        shown = [shown_by(one) for one in (*(one for one in touched if one[1]), *lost) if one[3]]
        if shown:
            markets.save(shown, now_ms())
    except DatabaseError as reason:
        log.warning("what the market showed not kept, the next events will be", reason=str(reason))


def shown_by(summary: Summary) -> Shown:
    """Read what a token of known worth shows."""
    mint, _, pools, liquidity, at = summary
    return Shown(mint, int(pools), int(liquidity), int(at))


def restore(mints: Collection[str]) -> list[Summary]:
    """Bring what Redis knows of these tokens up to what Postgres has kept, and return what they show then.

    Raises DatabaseError.
    """
    if not mints:
        return []
    kept = {one.mint: one for one in markets.load(mints)}
    restored: list[Summary] = RESTORE()([], [limits(), *(pack(told(mint, kept.get(mint))) for mint in mints)])
    if kept:
        log.info("redis told again what the market showed", tokens=len(kept))
    return restored


def told(mint: str, kept: Shown | None) -> dict[str, Any]:
    """Write what Postgres has of a token for restore.lua."""
    if kept is None:
        return {"mint": mint}
    worth = {} if kept.liquidity is None else {"liquidity": str(kept.liquidity)}
    return {"mint": mint, "pools": kept.pools, "at": str(kept.at), **worth}


def states(asked: Mapping[str, Iterable[int]], now: int) -> dict[str, TokenState]:
    """Return each token's state, by mint, with what was traded in the windows asked for, in one round trip.

    A window of so many milliseconds is (now - window, now].  What Redis has lost it is told again first, by Postgres:
    only then, DatabaseError may be raised.  What was read of liquidity longer than SNIPE_MARKET_AGE_S ago is unknown.
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
    """Read what Redis knows of these tokens."""
    if not windows:
        return {}
    bounds = limits(at=now, age=guards.SNIPE_MARKET_AGE_S * 1000)
    tokens = (pack({"mint": mint, "windows": lengths}) for mint, lengths in windows.items())
    return dict(zip(windows, STATES()([], [bounds, *tokens]), strict=True))


def rounds(reader: str) -> Iterator[list[Entry]]:
    """Yield batches of events: those a dead reader left, those this one has not acknowledged, then new ones.

    Each entry comes once; one that is not acknowledged comes again with the next call, here or, after a while, to
    another reader.
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
    """Read entries; one that cannot be read is logged and acknowledged, so that it comes to nobody again."""
    events: list[Entry] = []
    for entry_id, fields in entries:
        try:
            events.append((entry_id, event_from(fields)))
        except (KeyError, ValueError) as reason:
            # One that was trimmed away before it was read comes without fields.
            log.error("market event cannot be read", entry=entry_id, content=str(fields)[:500], reason=repr(reason))
            group.ack([entry_id])
    return events


def event_from(fields: Mapping[str, str]) -> MarketEvent:
    """Read an event written by `publish`.

    Raises KeyError or ValueError for what is none.
    """
    return MarketEvent(
        id=fields["id"],
        kind=EventKind(fields["kind"]),
        mint=fields["mint"],
        venue=fields["venue"],
        amount=int(fields["amount"]),
        at=int(fields["at"]),
    )
