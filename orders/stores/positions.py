"""Positions in Postgres: what fills made of each account's tokens, market by market.  Base units.

A market is two tokens: the quote token, which is the first of USDC, USDT and SOL that it has (of two others, the one
whose name sorts first), and the base token, which is bought and sold for it.  All figures follow from an account's
fills in the sequence in which they were recorded, in both directions of the market:

- purchases add to what is `held`, and what was paid, fee included, to its `cost`: average cost is one by the other;
- a sale takes its share of the cost; its proceeds less that are `realised`;
- what is sold beyond what was bought has no known cost.  It is `uncosted`, and neither a result nor a short position;
- `fees` are the venues', of sales at the price of the fill; they are in the figures above already;
- `shortfall` is how much more was paid, or less received, than the venue had quoted when the order was routed.

The statement that records a landing moves the positions, too, and notes in each attempt which step of its position
counted it.  So the same figures can be worked out again: see `compared`.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from engine.quotes import QUOTE_TOKENS
from orders.stores.balances import BOUGHT, COMPARED_WITHIN_MS, SOLD
from orders.stores.rows import fetch

AMOUNTS = ("held", "cost", "realised", "uncosted", "bought", "spent", "sold", "received", "fees", "shortfall", "quoted")
IN_BASE = ("held", "uncosted", "bought", "sold")
"""Those in units of the base token; the others are in the quote token's."""
MARKET = "owner_id, base, quote"


@dataclass(frozen=True, slots=True)
class Position:
    """What an account's fills in one market have come to; `fees`, `shortfall` and `quoted` are in the quote token."""

    owner: int
    base: str
    quote: str
    held: int
    cost: int
    realised: int
    uncosted: int
    bought: int
    spent: int
    sold: int
    received: int
    fees: int
    shortfall: int
    quoted: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A position beside what it should be, by the attempts that landed."""

    owner: int
    base: str
    quote: str
    amounts: tuple[int, ...]
    """As AMOUNTS names them."""
    due: tuple[int, ...] | None
    """None while some of its fills are in the archive: then there is nothing to compare with."""

    @property
    def differs(self) -> bool:
        return self.due is not None and self.amounts != self.due


RANKS = ", ".join(f"'{symbol}'" for symbol in QUOTE_TOKENS)
SIDED = """
    SELECT id, owner_id, CASE WHEN buys THEN token_out ELSE token_in END AS base,
           CASE WHEN buys THEN token_in ELSE token_out END AS quote, step, settled_at,
           CASE WHEN buys THEN amount_out ELSE 0 END AS bought, CASE WHEN buys THEN amount_in ELSE 0 END AS spent,
           CASE WHEN buys THEN 0 ELSE amount_in END AS sold, CASE WHEN buys THEN 0 ELSE amount_out END AS received,
           CASE WHEN buys THEN amount_in - div(amount_in * (10000 - fee_bps), 10000)
                ELSE coalesce(div(amount_out * fee_bps, nullif(10000 - fee_bps, 0)), 0) END AS fees,
           CASE WHEN buys THEN coalesce(div(amount_in * (expected_out - amount_out), nullif(expected_out, 0)), 0)
                ELSE expected_out - amount_out END AS shortfall,
           CASE WHEN buys THEN amount_in ELSE expected_out END AS quoted
    FROM (SELECT *, (coalesce(array_position(ranks, token_in), 9), token_in)
                  < (coalesce(array_position(ranks, token_out), 9), token_out) AS buys FROM ({fills}) AS f) AS sided
"""
"""SQL for what each of the `fills` adds to its position.  A venue's fee is taken from what is sold."""
ON_RECORD_TAKEN = "coalesce(t.amount_in, o.amount_in)"
TAKEN = f"CASE WHEN t.expected_in IS NULL THEN {ON_RECORD_TAKEN} ELSE a.amount_in END"
"""SQL for what an attempt that is about to be recorded as landed has sold."""


def fill(taken: str) -> str:
    """Return SQL for one fill; one of an exact amount was quoted the input for it, so what it sold should have paid."""
    return f"""
    t.id, o.owner_id, {SOLD} COLLATE "C" AS token_in, ({BOUGHT}) COLLATE "C" AS token_out, ARRAY[{RANKS}] AS ranks,
    t.position_step AS step, t.fee_bps, {taken} AS amount_in,
    CASE WHEN t.expected_in IS NULL THEN t.expected_out ELSE div({taken} * t.expected_out, t.expected_in) END
        AS expected_out
"""


LANDING = SIDED.format(
    fills=f"SELECT {fill(TAKEN)}, a.amount_out, t.settled_at FROM found a JOIN orders_attempt t USING (id) "  # noqa: S608
    "JOIN orders_order o ON o.id = t.order_id WHERE o.on_balance AND a.before <> 'landed'"
)
COUNTED = f"""
    fills AS MATERIALIZED ({LANDING}),
    counted AS MATERIALIZED (
        SELECT {MARKET}, orders_move_position({MARKET}, bought, spent, sold, received, fees, shortfall, quoted) AS step
        FROM (SELECT {MARKET}, sum(bought) AS bought, sum(spent) AS spent, sum(sold) AS sold, sum(received) AS received,
                     sum(fees) AS fees, sum(shortfall) AS shortfall, sum(quoted) AS quoted
              FROM fills GROUP BY {MARKET} ORDER BY {MARKET}) AS sorted
    ),
"""  # noqa: S608 - constants
"""SQL that counts attempts which are about to be recorded as landed: see chain_results.record.

The function is in orders/migrations/0026_positions.py.
"""
STEPS = f"LEFT JOIN (SELECT f.id, c.step FROM fills f JOIN counted c USING ({MARKET})) AS n USING (id)"  # noqa: S608
"""SQL for the step that counted each."""


ON_RECORD = SIDED.format(
    fills=f"SELECT {fill(ON_RECORD_TAKEN)}, t.amount_out, t.settled_at FROM orders_attempt t JOIN orders_order o "  # noqa: S608
    "ON o.id = t.order_id WHERE o.on_balance AND t.state = 'landed' AND t.error_code = ''"
)
DUE = f"""
    WITH steps AS (
        -- Attempts without a step, from before there were positions, come first and each alone.
        SELECT {MARKET}, step, CASE WHEN step IS NULL THEN id END AS alone, min(settled_at) AS at,
               sum(bought) AS bought, sum(spent) AS spent, sum(sold) AS sold, sum(received) AS received,
               sum(fees) AS fees, sum(shortfall) AS shortfall, sum(quoted) AS quoted
        FROM ({ON_RECORD}) AS f GROUP BY 1, 2, 3, 4, 5
    ), due AS (
        SELECT {MARKET}, count(step) AS steps,
               orders_position_after(bought, spent, sold, received
                   ORDER BY step NULLS FIRST, CASE WHEN step IS NULL THEN at END, alone) AS state,
               sum(bought) AS bought, sum(spent) AS spent, sum(sold) AS sold, sum(received) AS received,
               sum(fees) AS fees, sum(shortfall) AS shortfall, sum(quoted) AS quoted
        FROM steps GROUP BY {MARKET}
    )
    SELECT {MARKET}, {", ".join(f"coalesce(p.{name}, 0) AS {name}" for name in AMOUNTS)},
           coalesce(d.steps, 0) = coalesce(p.step, 0) AS complete,
           d.state[1] AS held_due, d.state[2] AS cost_due, d.state[3] AS realised_due, d.state[4] AS uncosted_due,
           {", ".join(f"d.{name} AS {name}_due" for name in AMOUNTS[4:])}
    FROM orders_position p FULL JOIN due d USING ({MARKET})
"""  # noqa: S608 - constants
"""SQL for every position, and what it should be by the attempts that have landed.

One of which some steps have left for the archive is not `complete`.
"""


NUMBER = f"""
    WITH old AS (
        SELECT id, row_number() OVER (ORDER BY settled_at DESC, id DESC) AS back FROM ({ON_RECORD}) AS f
        WHERE (owner_id, base, quote) = (%s, %s, %s) AND step IS NULL
    ), numbered AS (
        UPDATE orders_attempt t SET position_step = -old.back FROM old WHERE t.id = old.id RETURNING 1
    )
    UPDATE orders_position p SET step = p.step + (SELECT count(*) FROM numbered)
    WHERE (p.owner_id, p.base, p.quote) = (%s, %s, %s)
    RETURNING p.step
"""  # noqa: S608 - constants
"""SQL that gives the fills of one position that have no step one each, below those there are."""


def of(owner: int) -> list[Position]:
    """Return an account's positions."""
    sql = f"SELECT {MARKET}, {', '.join(AMOUNTS)} FROM orders_position WHERE owner_id = %s ORDER BY 2, 3"  # noqa: S608
    rows = fetch(sql, owner)
    return [Position(owner_id, base, quote, *map(int, amounts)) for owner_id, base, quote, *amounts in rows]


def compared() -> list[Difference]:
    """Compare every position with the attempts that have landed, in one statement.

    Raises DatabaseError, also when it takes longer than COMPARED_WITHIN_MS.
    """
    with transaction.atomic():
        fetch("SELECT set_config('statement_timeout', %s, true)", str(COMPARED_WITHIN_MS))
        return [difference(row) for row in fetch(f"{DUE} ORDER BY {MARKET}")]


def difference(row: tuple[Any, ...]) -> Difference:
    owner, base, quote, *rest = row
    amounts, (complete, *due) = rest[: len(AMOUNTS)], rest[len(AMOUNTS) :]
    # Without a fill on record nothing is due.
    expected = tuple(int(one or 0) for one in due) if complete else None
    return Difference(owner, base, quote, tuple(map(int, amounts)), expected)


def repair(owner: int, base: str, quote: str) -> None:
    """Set a position to what it should be, unless some of its fills are in the archive.

    The row is locked first: fills that are recorded meanwhile wait, and add to what is set here.  Fills from before
    there were positions get a step of their own, before the others', so that they are missed once they are archived.
    """
    market = (owner, base, quote)
    with transaction.atomic():
        fetch(
            f"""
            INSERT INTO orders_position ({MARKET}, {", ".join(AMOUNTS)}) VALUES (%s, %s, %s{", 0" * len(AMOUNTS)})
            ON CONFLICT DO NOTHING
            """,  # noqa: S608 - constants
            *market,
        )
        fetch("SELECT FROM orders_position WHERE (owner_id, base, quote) = (%s, %s, %s) FOR UPDATE", *market)
        set_right = fetch(
            f"""
            UPDATE orders_position p SET {", ".join(f"{name} = coalesce(d.{name}_due, 0)" for name in AMOUNTS)}
            FROM ({DUE}) AS d
            WHERE (p.owner_id, p.base, p.quote) = (%s, %s, %s) AND (d.owner_id, d.base, d.quote) = (%s, %s, %s)
              AND d.complete
            RETURNING 1
            """,  # noqa: S608 - constants
            *market * 2,
        )
        if set_right:
            fetch(NUMBER, *market * 2)
