"""One engine on hosts of its own for all tests of this folder: to start twenty processes takes longer than most."""

import pytest

from tests.flows.tides import tide
from tests.hosts.cluster import cluster
from tests.hosts.network import why_not
from tests.system import NO_DELAYS, quoted


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """A market that is a second below 155 and a second above it, over and over, so that limit orders fire."""
    if reason := why_not():
        pytest.skip(reason)
    moving = tide(tmp_path_factory.mktemp("market"), ["150", "160"])
    with cluster({**NO_DELAYS, **moving, "MOCK_CONFIRM_DELAY_MS": "100-600", "CONFIRM_RESEND_MS": "500"}) as running:
        quoted(running)
        yield running
