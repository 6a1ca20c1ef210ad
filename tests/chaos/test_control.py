"""The naive control obeys an operator's pause: else orders of it move while a run is read."""

import pytest
from django.db import connection

from tests.chaos.control.tables import TABLES, WAITING

ORDER = "INSERT INTO orders_order (id, type, status) VALUES (gen_random_uuid(), 'limit', 'pending')"
PAUSE = "INSERT INTO orders_pause (scope) VALUES ('everything')"


@pytest.mark.django_db
def test_the_control_fires_nothing_while_everything_is_paused():
    with connection.cursor() as db:
        db.execute("CREATE SCHEMA control")
        db.execute("SET LOCAL search_path = control")
        db.execute(TABLES)
        db.execute(ORDER)
        assert waiting(db) == 1
        db.execute(PAUSE)
        assert waiting(db) == 0


def waiting(db):
    """Count the orders the control would look at."""
    db.execute(WAITING)
    return len(db.fetchall())
