"""Rows that one connection holds and another waits for."""

import threading

from django.db import connection, connections


def in_thread(work):
    """Run it on a thread of its own, with its own connection; return the thread and what it will answer."""
    answers = []

    def run():
        try:
            answers.append(work())
        except Exception as reason:
            answers.append(reason)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answers


def waits_for_a_lock():
    """Count the connections to this database that wait for a row somebody else holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0]
