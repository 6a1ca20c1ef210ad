"""Record what operators did: one row for each act, sealed in the same transaction."""

from django.db import transaction

from orders.models import Act
from orders.stores import seals

LENGTHS = {"who": 150, "origin": 150, "what": 60, "subject": 200}
"""What the columns hold."""


def record(who: str, origin: str, what: str, subject: object, outcome: str, reason: str = "") -> None:
    """Record an act.  Call this after the act itself, which must not wait for the seals' lock.

    Raises DatabaseError.
    """
    told = {"who": who, "origin": origin, "what": what, "subject": str(subject)}
    with transaction.atomic():
        act = Act.objects.create(
            **{name: text[: LENGTHS[name]] for name, text in told.items()}, reason=reason, outcome=outcome
        )
        seals.seal_act(act.pk)
