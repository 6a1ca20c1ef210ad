"""What the API records of callers who act on orders of other accounts."""

import structlog
from django.db import DatabaseError
from rest_framework.request import Request

from orders.api.access import caller_of
from orders.stores import acts

log = structlog.get_logger(__name__)


def record(request: Request, what: str, subject: object, outcome: str) -> None:
    """Put an act on record.  It has been done by now, and is answered as such whether it can be recorded or not."""
    who, origin = caller_of(request).name, str(request.META.get("REMOTE_ADDR", ""))
    try:
        acts.record(who, origin, what, subject, outcome)
    except DatabaseError as away:
        log.error("act not on record", who=who, what=what, subject=str(subject), outcome=outcome, reason=str(away))
