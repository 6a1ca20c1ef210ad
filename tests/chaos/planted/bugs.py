"""The ten bugs: each a step that somebody could plausibly have left out, as a change to the files it is left out of.

Where the engine has a second net below the one that is left out, that one is taken away too: a bug without
consequences is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.plan.faults import USUAL, Aim
from tests.chaos.planted import aims


@dataclass(frozen=True)
class Edit:
    """A text of one file, which must be there just once, and what stands in its place."""

    file: str
    says: str
    becomes: str = ""


@dataclass(frozen=True)
class Bug:
    """One bug, and what must break for it to do harm soon."""

    name: str
    step: str
    """What is left out."""
    edits: tuple[Edit, ...]
    aim: Aim = USUAL
    cells: tuple[str, ...] = ()
    """What to ask the crash matrix for, where harm takes an interleaving that a run of a minute hardly meets."""


PLANTED = (
    Bug(
        "fence_not_checked",
        "a swap of the live state compares the status alone, and not the seq and the fence the order was claimed under",
        (
            Edit(
                "orders/stores/lua/moves.lua",
                "return h.seq == move.seq and (not move.fence or h.fence == move.fence)",
                "return true",
            ),
        ),
        aims.FROZEN_WITHOUT_QUOTES,
    ),
    Bug(
        "attempt_not_committed",
        "the bytes are sent first, and the attempt is committed afterwards",
        (
            Edit(
                "orders/flow/execution.py",
                "    outcome = attempts.prepare([prepared for _, prepared in built])\n",
                "    settlement.broadcast([prepared for _, prepared in built])\n"
                "    outcome = attempts.prepare([prepared for _, prepared in built])\n",
            ),
            Edit(
                "orders/flow/execution.py",
                "    settlement.broadcast([prepared for prepared in going if prepared.signature in mine])\n",
            ),
        ),
        aims.FROZEN_BETWEEN_STEPS,
    ),
    Bug(
        "resigned_on_timeout",
        "a broadcast that is not answered closes the attempt as expired, so that the order is signed anew",
        (
            Edit(
                "orders/flow/settlement.py",
                "    if going:\n        deliver([attempt.raw for attempt in sent if attempt.signature in going])\n",
                "    if going and not deliver([attempt.raw for attempt in sent if attempt.signature in going]):\n"
                "        dead = [expiry(attempt.signature) for attempt in sent]\n"
                "        conclude(chain_results.settle(AttemptState.EXPIRED, dead, now_ms()))\n",
            ),
        ),
        aims.UNANSWERED,
    ),
    Bug(
        "bucket_popped_unclaimed",
        "the script that takes reached orders out of their buckets writes no claim down",
        (
            Edit(
                "orders/stores/lua/book/claim.lua",
                "  redis.call('HSET', claims, asked.name, asked.lease .. ' ' .. table.concat(ids, ',')"
                " .. ' ' .. asked.evidence)\n",
            ),
        ),
        cells=("--only", "fire", "--life", "path", "--outcome", "lands", "--moment", "after"),
    ),
    Bug(
        "sweep_forgotten",
        "the sweep finds nothing: lapsed leases, lost wake-ups and pauses that are over stay where they are",
        (Edit("orders/flow/sweep.py", "    due = live.due(", "    return 0\n    due = live.due("),),
        aims.WORKERS_LOST,
    ),
    Bug(
        "attempt_updated_unconditionally",
        "an order's end withdraws its attempts, whatever state they are in",
        (
            Edit(
                "orders/flow/decisions.py",
                "WHERE order_id = ANY(%s::uuid[]) AND state = 'prepared'\n",
                "WHERE order_id = ANY(%s::uuid[])\n",
            ),
        ),
        aims.REFUSED_BY_THE_CHAIN,
    ),
    Bug(
        "terms_not_bound",
        "an amendment does not reach the live order, and an attempt is committed without comparing the version of the"
        " terms it was built on with the row's",
        (
            Edit(
                "orders/stores/lua/moves.lua",
                "    if move.body then redis.call('HSET', key, 'order', move.body) end\n",
            ),
            Edit("orders/stores/attempts.py", " AND o.terms_seq = asked.terms_seq"),
        ),
        aims.WORKERS_LOST,
    ),
    Bug(
        "end_told_before_commit",
        "an end or amendment is told before it is committed in Postgres",
        (
            Edit(
                "orders/flow/decisions.py",
                "    refused = committed(reserved, intents)\n",
                "    told = [(one, intents[one.order_id].becoming, True) for one in reserved]\n"
                "    epochs.within(lambda epoch: swaps.finish(epoch, told))\n"
                "    refused = committed(reserved, intents)\n",
            ),
        ),
        aims.EMPTIED_WHILE_POSTGRES_IS_AWAY,
    ),
    Bug(
        "rebuilt_too_early",
        "a rebuild marks Redis as whole after its first page",
        (
            Edit(
                "orders/flow/recovery.py",
                "    for order_ids in chain(moving(0), waiting()):\n        restored",
                "    for order_ids in [next(chain(moving(0), waiting()), [])]:\n        restored",
            ),
        ),
        aims.EMPTIED,
    ),
    Bug(
        "feed_trimmed_unread",
        "the event feed is trimmed by age alone, whether or not DBSync has written what is dropped",
        (
            Edit(
                "orders/flow/dbsync.py",
                "minid=min([*written, old], key=position)",
                "minid=old",
            ),
        ),
        aims.DBSYNC_LATE,
    ),
)

BUGS: Mapping[str, Bug] = {bug.name: bug for bug in PLANTED}
