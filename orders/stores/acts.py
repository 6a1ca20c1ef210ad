"""Record what operators did: one row for each act, sealed in the same transaction."""

from django.db import transaction

from orders.models import Act
from orders.stores import seals

LENGTHS = {"who": 150, "origin": 150, "what": 60, "subject": 200, "page": 300}
"""What the columns hold; longer text is cut."""


def record(
    who: str, origin: str, what: str, subject: object, outcome: str, *, reason: str = "", page: str = ""
) -> None:
    """Record an act.  Call this after the act itself, which must not wait for the seals' lock.

    Raises DatabaseError.
    """
    told = {"who": who, "origin": origin, "what": what, "subject": str(subject), "page": page}
    cut = {name: text.replace("\0", "\ufffd")[: LENGTHS[name]] for name, text in told.items()}
    with transaction.atomic():
        seals.seal_act(Act.objects.create(**cut, reason=reason, outcome=outcome).pk)
