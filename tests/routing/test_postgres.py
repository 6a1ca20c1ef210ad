"""Statements whose plans Postgres keeps."""

import pytest
from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction

from routing import postgres
from routing.postgres import fetch, fetch_new

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


@pytest.fixture
def table():
    """A table with a key and a rule."""
    fetch("CREATE TABLE keyed (a int PRIMARY KEY, b int CHECK (b > 0))")
    yield
    fetch("DROP TABLE keyed")


def put(*rows):
    """Insert rows, leaving out those that are there; return the SQL that was tried, and the keys that were new."""
    tried = []

    def statement(on_conflict):
        tried.append(on_conflict)
        return f"INSERT INTO keyed SELECT * FROM unnest(%s::int[], %s::int[]) {on_conflict} RETURNING a"

    keys, values = zip(*rows, strict=True)
    found = fetch_new(statement, "ON CONFLICT DO NOTHING", list(keys), list(values))
    return tried, [key for (key,) in found]


def test_new_rows_are_inserted_without_a_clause_for_those_that_are_there(table):
    assert put((1, 1), (2, 1)) == ([""], [1, 2])


def test_a_row_that_is_there_has_the_others_inserted_with_the_clause(table):
    put((1, 1))
    assert put((1, 1), (2, 1)) == (["", "ON CONFLICT DO NOTHING"], [2])


def test_another_refusal_is_not_taken_for_a_repeat(table):
    with pytest.raises(IntegrityError, match="check"):
        put((1, -1))
    assert fetch("SELECT count(*) FROM keyed") == [(0,)]


def test_inside_a_transaction_a_repeat_does_not_abort_it(table):
    put((1, 1))
    with transaction.atomic():
        assert put((1, 1), (2, 1)) == (["ON CONFLICT DO NOTHING"], [2])
    assert fetch("SELECT count(*) FROM keyed") == [(2,)]
