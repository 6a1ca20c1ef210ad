"""All orders by stream, by pages and by webhook, through kills and losses of Redis: complete and in sequence."""

import pytest

from tests.load import delivery

pytestmark = pytest.mark.system

ORDERS = 500


def test_500_orders_are_told_complete_and_in_sequence_to_every_kind_of_client():
    figures = delivery.measure(ORDERS)
    assert (figures["orders"], sum(figures["by outcome"].values())) == (ORDERS, ORDERS)
    assert figures["by outcome"]["cancelled"] >= 2 * ORDERS // 5
    assert figures["calls of the webhook"] > figures["of these kept"]
