"""Balances in Postgres: what each account has of each token, and what its open orders reserve of it.  Base units.

Every change is part of the statement or transaction that commits its reason, so neither is ever without the other:

- an order's row with `on_balance`: its `amount_in` is reserved;
- an amendment: the difference is reserved, or given back;
- an end without a fill: the reservation is given back;
- an attempt that becomes `landed`: the reservation and what was sold go, what was bought comes.  An order that bought
  an exact amount may have sold less than it reserved.

The constraint `balance_covers_orders` refuses whatever reserves more than there is.  Nothing else is refused: an end or
a fill is committed whatever its balance says.  Fees of the network are paid by the engine's wallet; the venue's fee is
in what was bought.

Everybody locks in one sequence: rows of orders or attempts, rows of trading limits, balances by owner and token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from orders.models import MOVING_SQL, WAITING_SQL
from orders.stores.rows import fetch, fetch_as, recordset
from routing import wiring

CONSTRAINT = "balance_covers_orders"
COMPARED_WITHIN_MS = 60_000
"""Time for reading all attempts and open orders that are not archived."""


class Short(Exception):
    """A balance does not cover what was to be reserved; nothing was done."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has of a token."""

    owner: int
    token: str
    total: int
    reserved: int

    @property
    def available(self) -> int:
        return self.total - self.reserved


@dataclass(frozen=True, slots=True)
class Difference:
    """A balance beside what it should be, by the attempts that landed and the orders that are open."""

    owner: int
    token: str
    total: int
    reserved: int
    total_due: int
    reserved_due: int

    @property
    def differs(self) -> bool:
        return (self.total, self.reserved) != (self.total_due, self.reserved_due)


SOLD = "split_part(pair, '-', 1)"
"""SQL for the token that a row's `pair` sells."""
BOUGHT = """
    CASE WHEN length(split_part(pair, '-', 2)) >= 32
    THEN coalesce((SELECT k.symbol FROM routing_token k WHERE k.mint = split_part(pair, '-', 2)),
                  split_part(pair, '-', 2))
    ELSE split_part(pair, '-', 2) END
"""
"""SQL for the token that it buys: a pair placed before its token was listed names the mint."""
MOVED = """
    moved AS MATERIALIZED (
        SELECT orders_move_balance(owner_id, token, total, reserved, %s, %s)
        FROM (SELECT * FROM changes ORDER BY owner_id, token) AS sorted
    )
"""
"""SQL that applies `changes` (owner_id, token, total, reserved), one row for each balance; ends with `funding()`.

The function is in orders/migrations/0022_balances.py.  The rest of the statement has to read ALL_MOVED.
"""
ALL_MOVED = "(SELECT count(*) FROM moved) AS all_moved(balances)"


FILLS = f"""
    SELECT o.owner_id, side.token, sum(side.change) AS change
    FROM orders_order o JOIN orders_attempt t ON t.order_id = o.id,
    LATERAL (VALUES ({SOLD}, -coalesce(t.amount_in, o.amount_in)), ({BOUGHT}, t.amount_out)) AS side(token, change)
    WHERE o.on_balance AND t.state = 'landed' AND t.error_code = '' AND {{which}} GROUP BY 1, 2
"""  # noqa: S608 - constants
"""SQL for what the attempts that have landed changed, by balance."""


LANDED = f"""
    changes AS MATERIALIZED (
        SELECT s.owner_id, side.token, sum(side.total) AS total, sum(side.reserved) AS reserved
        FROM (SELECT owner_id, pair, sum(amount_in) AS sold, sum(reserved) AS held, sum(amount_out) AS bought
              FROM settled WHERE on_balance AND before <> 'landed' GROUP BY 1, 2) AS s,
        LATERAL (VALUES ({SOLD}, -s.sold, -s.held), ({BOUGHT}, s.bought, 0)) AS side(token, total, reserved)
        GROUP BY 1, 2
    ), {MOVED}
"""  # noqa: S608 - constants
"""SQL that has the balances follow attempts that were just recorded as landed: see chain_results.record."""


DUE = f"""
    WITH standing AS (
        SELECT o.owner_id, {SOLD} AS token, sum(o.amount_in) AS reserved FROM (
            SELECT * FROM orders_order WHERE {MOVING_SQL} UNION ALL SELECT * FROM orders_order WHERE {WAITING_SQL}) o
        WHERE o.on_balance AND NOT EXISTS (
            SELECT FROM orders_attempt t WHERE t.order_id = o.id AND t.state = 'landed' AND t.error_code = '')
        GROUP BY 1, 2
    ), filled AS ({FILLS.format(which="true")})
    SELECT owner_id, token, coalesce(b.total, 0) AS total, coalesce(b.reserved, 0) AS reserved,
           coalesce(b.opening, 0) + coalesce(f.change, 0) AS total_due, coalesce(s.reserved, 0) AS reserved_due
    FROM orders_balance b FULL JOIN standing s USING (owner_id, token) FULL JOIN filled f USING (owner_id, token)
"""  # noqa: S608 - constants
"""SQL for every balance, and what it should be by the attempts that have landed and the orders that are open."""


def funding() -> tuple[int, str]:
    """Return the parameters of MOVED: what accounts begin with, in whole tokens, and of which tokens."""
    return wiring.funds()


@contextmanager
def covering() -> Iterator[None]:
    """Raise Short for a change that a balance does not cover."""
    try:
        yield
    except IntegrityError as reason:
        if getattr(getattr(reason.__cause__, "diag", None), "constraint_name", None) == CONSTRAINT:
            raise Short from None
        raise


def reserve(amounts: dict[str, int]) -> None:
    """Change what these orders reserve to these amounts, before their rows change; their rows are locked.

    Raises Short.
    """
    if not amounts:
        return
    with covering():
        fetch(
            f"""
            WITH changes AS MATERIALIZED (
                SELECT o.owner_id, {SOLD} AS token, 0::numeric AS total, sum(a.amount - o.amount_in) AS reserved
                FROM orders_order o JOIN json_to_recordset(%s) AS a(id uuid, amount numeric) ON o.id = a.id
                WHERE o.on_balance GROUP BY 1, 2
            ), {MOVED} SELECT FROM {ALL_MOVED}
            """,  # noqa: S608 - constants
            recordset({"id": order_id, "amount": amount} for order_id, amount in amounts.items()),
            *funding(),
        )


def fills_of(order_ids: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what the fills of these orders changed, by balance: the sum of each."""
    rows = fetch(FILLS.format(which="o.id = ANY(%s)"), list(order_ids))
    return [{"owner_id": owner, "token": token, "change": change} for owner, token, change in rows]


def carry_forward(fills: Sequence[dict[str, Any]]) -> None:
    """Count fills whose orders leave for the archive as part of what their balances began with."""
    if not fills:
        return
    fetch(
        """
        WITH locked AS MATERIALIZED (
            SELECT f.* FROM orders_balance b
            JOIN json_to_recordset(%s) AS f(owner_id int, token text, change numeric) USING (owner_id, token)
            ORDER BY b.owner_id, b.token FOR UPDATE OF b
        )
        UPDATE orders_balance b SET opening = b.opening + l.change
        FROM locked l WHERE b.owner_id = l.owner_id AND b.token = l.token
        """,
        recordset({**fill, "change": str(fill["change"])} for fill in fills),
    )


def of(owner: int, tokens: Sequence[str]) -> dict[str, Balance]:
    """Return an account's balances of these tokens; of one that it has not used yet, what it would begin with."""
    rows = fetch_as(
        Balance,
        """
        SELECT %s::int AS owner, c.token, coalesce(b.total, orders_begins_with(c.token, %s, %s)) AS total,
               coalesce(b.reserved, 0) AS reserved
        FROM unnest(%s::text[]) AS c(token) LEFT JOIN orders_balance b ON b.owner_id = %s AND b.token = c.token
        """,
        owner,
        *funding(),
        list(tokens),
        owner,
    )
    return {row.token: whole(row) for row in rows}


def reserved_by(order_id: str) -> int | None:
    """Return what an open order reserves; None for one that no balance counts."""
    rows = fetch("SELECT amount_in FROM orders_order WHERE id = %s AND on_balance", order_id)
    return int(rows[0][0]) if rows else None


def whole(row: Balance) -> Balance:
    return Balance(row.owner, row.token, int(row.total), int(row.reserved))


def used_by(owner: int) -> list[str]:
    """Return the tokens that an account has used."""
    return [token for (token,) in fetch("SELECT token FROM orders_balance WHERE owner_id = %s ORDER BY 1", owner)]


def compared() -> list[Difference]:
    """Compare every balance with the attempts that have landed and the orders that are open, in one statement.

    Raises DatabaseError, also when it takes longer than COMPARED_WITHIN_MS.
    """
    with transaction.atomic():
        fetch("SELECT set_config('statement_timeout', %s, true)", str(COMPARED_WITHIN_MS))
        rows = fetch(f"{DUE} ORDER BY 1, 2")
    return [Difference(owner, token, *map(int, amounts)) for owner, token, *amounts in rows]


def repair(owner: int, token: str) -> None:
    """Set a balance to what it should be.

    The row is locked first: orders and fills that are committed meanwhile wait, and add to what is set here.
    """
    with transaction.atomic():
        fetch("SELECT FROM orders_balance WHERE owner_id = %s AND token = %s FOR UPDATE", owner, token)
        fetch(
            f"""
            UPDATE orders_balance b SET total = d.total_due, reserved = d.reserved_due FROM ({DUE}) AS d
            WHERE (b.owner_id, b.token) = (%s, %s) AND (d.owner_id, d.token) = (%s, %s)
            """,  # noqa: S608 - a constant of this module
            *(owner, token) * 2,
        )
