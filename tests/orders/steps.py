"""Do something at a step of an order's way, as if its worker were frozen there meanwhile."""

from contextlib import contextmanager

from routing import crashpoints
from routing.crashpoints import Moment


@contextmanager
def at(step, act, moment=Moment.BEFORE):
    """Act once when a step is reached, and see to it that it is."""
    done = []

    def once():
        if not done:
            done.append(step)
            act()

    crashpoints.arm(step, moment, once)
    try:
        yield
    finally:
        crashpoints.disarm()
    assert done, f"{step} was not reached"
