"""After a run: what is kept of every order, in the API's lists and in Postgres, against what was told."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg

from tests.bearer import given
from tests.load.scenarios.story import Json, Story

ARCHIVED_WITHIN_S = 60.0
"""How long the archive may be behind."""
LOOK_EVERY_S = 0.5
CLOCKS_APART = timedelta(minutes=5)
"""How far this machine's clock may be from the engine's."""
PAGE = 200
FIRST_SHOWN = 3


def disagreements(
    base_url: str, database_url: str | None, stories: Sequence[Story], since: datetime, within_s: float
) -> list[str]:
    """Compare every order of a run with what is kept of it; say what differs, and nothing when nothing does."""
    ended = [story for story in stories if story.is_final]
    found = archived(base_url, ended, since - CLOCKS_APART, within_s)
    if database_url:
        found += kept(database_url, ended, within_s)
    return found


def archived(base_url: str, stories: Sequence[Story], since: datetime, within_s: float) -> list[str]:
    """Look for the orders in the lists by status, which are read from Postgres; wait while the archive is behind."""
    with httpx.Client(base_url=base_url, headers=given(), timeout=30) as http:
        return settled(lambda: differs_in_lists(http, stories, since), within_s)


def differs_in_lists(http: httpx.Client, stories: Sequence[Story], since: datetime) -> list[str]:
    """Compare the lists of each status with what was told."""
    by_status: dict[str, list[Story]] = defaultdict(list)
    for story in stories:
        by_status[story.status].append(story)
    wrong: list[str] = []
    for status, expected in by_status.items():
        listed = {order["orderId"]: order for order in listed_as(http, status, since)}
        missing = [story.order_id for story in expected if story.order_id not in listed]
        if missing:
            wrong.append(f"{len(missing)} orders told to be {status} are not listed as such: {few(missing)}")
        wrong += [
            f"order {story.order_id} was told {story.seq} events and is listed with {listed[story.order_id]['seq']}"
            for story in expected
            if story.order_id in listed and listed[story.order_id]["seq"] != story.seq
        ]
    return wrong


def listed_as(http: httpx.Client, status: str, since: datetime) -> Iterator[Json]:
    """Yield all orders of a status that were created since."""
    query: dict[str, Any] = {"status": status, "createdAfter": since.isoformat(), "limit": PAGE}
    url: str | None = str(http.base_url.join("/api/orders").copy_with(params=query))
    while url:
        answer = http.get(url)
        answer.raise_for_status()
        page = answer.json()
        yield from page["results"]
        url = page["next"]


def kept(database_url: str, stories: Sequence[Story], within_s: float) -> list[str]:
    """Look into Postgres itself; wait while the archive is behind."""
    with psycopg.connect(database_url, autocommit=True) as db:
        return settled(lambda: differs_in_rows(db, stories), within_s)


ROWS = """
SELECT o.id::text, o.status, o.seq,
       (SELECT coalesce(json_agg(json_build_array(e.seq, e.status) ORDER BY e.seq), '[]')
          FROM orders_orderevent e WHERE e.order_id = o.id)::text,
       (SELECT coalesce(json_agg(json_build_array(a.state, a.signature)), '[]')
          FROM orders_attempt a WHERE a.order_id = o.id AND a.state NOT IN ('rejected', 'expired'))::text
  FROM orders_order o WHERE o.id = ANY(%s::uuid[])
"""


def differs_in_rows(db: "psycopg.Connection[Any]", stories: Sequence[Story]) -> list[str]:
    """Compare orders, events and attempts, row by row."""
    rows = {row[0]: row[1:] for row in db.execute(ROWS, [[story.order_id for story in stories]]).fetchall()}
    missing = [story.order_id for story in stories if story.order_id not in rows]
    wrong = [f"{len(missing)} orders have no row in Postgres: {few(missing)}"] if missing else []
    for story in stories:
        if story.order_id in rows:
            wrong += row_differs(story, *rows[story.order_id])
    return wrong


def row_differs(story: Story, status: str, seq: int, events: str, attempts: str) -> Iterator[str]:
    """Say what Postgres has otherwise than it was told.

    A confirmed order has the one landed attempt whose signature was told, any other has none that is open or landed.
    """
    of = f"order {story.order_id}"
    if (status, seq) != (story.status, story.seq):
        yield f"{of} was told {story.status} with seq {story.seq}, Postgres has {status} with {seq}"
    told = [[event.seq, event.status] for event in story.heard]
    if json.loads(events) != told:
        yield f"{of} was told {told}, Postgres has the events {events}"
    landed = [["landed", story.heard[-1].raw["txHash"]]] if story.status == "confirmed" else []
    if json.loads(attempts) != landed:
        yield f"{of} is {story.status}, Postgres has the attempts {attempts}"


def settled(look: Any, within_s: float) -> list[str]:
    """Look until nothing differs any more or the time is up; return what differed last."""
    deadline = time.monotonic() + within_s
    while (differing := look()) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
    found: list[str] = differing
    return found


def few(ids: Sequence[str]) -> str:
    """Name the first of many."""
    more = f" and {len(ids) - FIRST_SHOWN} more" if len(ids) > FIRST_SHOWN else ""
    return ", ".join(ids[:FIRST_SHOWN]) + more
