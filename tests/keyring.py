"""The API key that tests of one process send, and whom it stands for."""

import time

from orders.access import keys
from orders.access.callers import Caller, Scope

TOKEN = "oek_tests_every-test-of-one-process-sends-this-key"
BEARER = {"authorization": f"Bearer {TOKEN}"}
WIRE = [(b"authorization", BEARER["authorization"].encode())]
OPERATOR = Caller(1, "the key tests", frozenset(Scope), key=0)
"""It sees the orders of every account, so also those that a test places without one."""


def ring() -> keys.Table:
    """Return a table with that key alone."""
    return keys.Table({keys.digest(TOKEN): OPERATOR}, time.monotonic())
