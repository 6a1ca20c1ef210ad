"""A sample of the fuzzer: `python -m tests.fuzz.run` is the whole, with clients that stall beside."""

import pytest

from tests.fuzz import run
from tests.fuzz.cases import case
from tests.fuzz.places import endpoints, sockets
from tests.system import NO_DELAYS, eventually, system

pytestmark = pytest.mark.system

SEED = 20_261_128
CASES = 1_500
RATE = 150.0


@pytest.fixture(scope="module")
def engine():
    with system(NO_DELAYS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


def test_what_no_client_should_send_fails_nothing_and_tells_nothing(engine):
    tally, figures = run.fuzz(engine, SEED, CASES, RATE, stalling=False)
    assert not tally.wrong, f"{len(tally.wrong)} of {CASES}:\n\n" + "\n\n".join(tally.wrong[:5])
    assert tally.cases == CASES
    assert set(figures["and meanwhile"]["statuses"]) <= {"202", "503"}


def test_a_case_is_made_again_from_its_seed_and_number():
    places = endpoints(), sockets()
    first = [case(7, number, *places, key="key") for number in range(300)]
    assert first == [case(7, number, *places, key="key") for number in range(300)]
    assert len({one.pieces for one in first}) == 300
    with_key = [b"Bearer key" in b"".join(one.pieces) for one in first]
    assert 100 < sum(with_key) <= 150


def test_every_endpoint_and_every_socket_is_sent_to():
    sent = b"".join(piece for number in range(6_000) for piece in case(1, number, endpoints(), sockets(), "").pieces)
    missing = [place for place in (*endpoints(), *sockets()) if place.split("{}")[0].encode() not in sent]
    assert missing == []
