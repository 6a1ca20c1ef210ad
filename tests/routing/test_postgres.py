"""Statements whose plans Postgres keeps."""

import pytest
from django.conf import settings
from django.db import DatabaseError, connection

from routing import postgres
from routing.postgres import fetch

pytestmark = pytest.mark.django_db(transaction=True)


def kept(text):
    """Count the plans this connection keeps of a statement."""
    (count,) = fetch("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", f"%{text}%")[0]
    return count


def test_the_plan_of_a_statement_that_recurs_is_kept():
    for number in range(settings.PREPARE_AFTER + 1):
        assert fetch("SELECT %s::int + 1 /* recurs */", number) == [(number + 1,)]
    assert kept("/* recurs */") == 1


def test_a_statement_that_fails_fails_as_a_database_error_and_leaves_the_connection_usable():
    with pytest.raises(DatabaseError):
        fetch("SELECT 1 / %s::int", 0)
    assert fetch("SELECT 1") == [(1,)]
    assert connection.is_usable()


def test_a_statement_without_rows_returns_none():
    assert postgres.fetch("SET LOCAL enable_seqscan = on") == []


def test_a_changed_table_does_not_break_a_statement_that_is_kept():
    fetch("CREATE TABLE changing (a int)")
    try:
        for number in range(settings.PREPARE_AFTER + 1):
            fetch("INSERT INTO changing (a) VALUES (%s)", number)
        fetch("ALTER TABLE changing ADD COLUMN b int DEFAULT 7")
        fetch("INSERT INTO changing (a) VALUES (%s)", 99)
        assert fetch("SELECT a, b FROM changing WHERE a = %s", 99) == [(99, 7)]
    finally:
        fetch("DROP TABLE changing")
