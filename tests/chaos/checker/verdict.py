"""What is wrong, by kind, with a few examples of each."""

from collections.abc import Mapping
from typing import Any

EXAMPLES = 5

KINDS: Mapping[str, str] = {
    "acknowledged_missing": "an order answered 202 has no row",
    "unfinished": "an order is neither final nor resting rightly after the calm",
    "resting_though_reached": "an order rests although what it waits for has come",
    "ended_by_outage": "an order ended because something was away, other than by its own deadline",
    "executed_twice": "the chain executed more than one transaction of an order",
    "executed_unconfirmed": "the chain executed an order that is not confirmed",
    "confirmed_unexecuted": "an order is confirmed and the chain executed nothing of it",
    "confirmed_otherwise": "a confirmed order states other facts than the chain's ledger",
    "executed_without_attempt": "the chain executed a transaction that no committed attempt knows",
    "attempt_contradicts_chain": "an attempt's state is not what the chain says of its signature",
    "below_limit": "a fill is worse than the order's price",
    "stale_terms": "an execution is on other terms than those in force",
    "cancelled_executed": "an order whose DELETE was answered 200 was executed",
    "cancel_undone": "an order whose DELETE was answered 200 did not end cancelled",
    "cancel_misanswered": "a DELETE was answered 200 with a body that does not say cancelled",
    "pair_cancel_undone": "fewer orders of a pair are cancelled than a DELETE of the pair was answered",
    "amendment_lost": "a PATCH answered 200 is not in the order's history",
    "row_terms": "a row's terms are not those of the order's history",
    "first_event": "event 1 does not state what was asked",
    "repeat_differs": "the same clientOrderId gave two orders",
    "answered_wrong": "a request got an answer that it can never deserve",
    "told_unknown": "a client was told that an acknowledged order does not exist",
    "story_gap": "a story skips an event",
    "story_repeat": "a story tells an event again without a rewind",
    "story_rewind": "a rewind names no event that could be rewound to",
    "story_epoch": "an epoch falls along a story",
    "story_after_end": "a story goes on after its final event without a rewind",
    "story_unended": "a final order's story lacks its final event",
    "story_end_overturned": "a client was told an end that was not the order's end",
    "story_differs_at": "a story and REST tell the same events at other times",
    "story_differs_facts": "a story and REST tell events with other facts",
    "story_differs_events": "a story and REST tell other events",
    "rest_differs_rows": "REST tells other events than the rows hold",
    "rows_gap": "the rows of a final order's events do not count 1, 2, 3 up to its seq",
    "order_differs_event": "an order read by REST contradicts its last event",
    "order_terms": "an order read by REST states other terms than its history",
    "unread": "an acknowledged order cannot be read by REST after the calm",
}


class Verdict:
    """Collects violations."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[dict[str, Any]]] = {}

    def add(self, kind: str, order_id: str | None, says: str, **facts: Any) -> None:
        """Count a violation; the first few are kept as examples."""
        assert kind in KINDS, kind
        self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append({"order": order_id, "says": says, **facts})

    def as_dict(self) -> dict[str, Any]:
        """Write it down, most frequent first."""
        return {
            kind: {"count": count, "means": KINDS[kind], "examples": self.examples[kind]}
            for kind, count in sorted(self.counts.items(), key=lambda one: -one[1])
        }
