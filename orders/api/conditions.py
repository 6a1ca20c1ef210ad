"""Conditions of a request: the state of an order it is meant for."""

import re

from orders.api.errors import Field, Invalid, Unconditional, shown

IF_MATCH = r'^((W/)?"[0-9]{1,9}"|[0-9]{1,9})$'
ETAG = re.compile(r'"(\d{1,9})"|W/"(\d{1,9})"|(\d{1,9})', re.ASCII)


def seq_of(if_match: str | None) -> int:
    """Read If-Match: the seq of the order as the client knows it, in quotation marks or not.

    Raises Unconditional, Invalid.
    """
    if if_match is None:
        raise Unconditional
    found = ETAG.fullmatch(if_match.strip())
    if found is None:
        message = "is not the ETag of an order"
        raise Invalid(f"If-Match {message}", [Field("If-Match", shown(if_match), message, 'one seq, such as "7"')])
    return int(next(digits for digits in found.groups() if digits))
