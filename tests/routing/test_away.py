"""What anybody is told about a store that cannot be used."""

import pytest

from routing.away import CAUSES, why

CASES = [
    ("Error 111 connecting to 10.0.0.7:6379. Connection refused.", "connection refused"),
    ("(403) ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", "login refused"),
    ('FATAL:  role "trader" does not exist', "login refused"),
    ("FATAL:  the database system is starting up", "starting up"),
    ("Valkey is loading the dataset in memory", "starting up"),
    ("terminating connection due to administrator command", "shutting down"),
    ("FATAL:  sorry, too many clients already", "too many connections"),
    ('relation "orders_order" does not exist', "database or tables missing"),
    ('could not translate host name "db.example" to address: Name or service not known', "host name unknown"),
    ("Error -2 connecting to cache.example:6379. Name or service not known.", "host name unknown"),
    ("MISCONF Errors writing to the AOF file: No space left on device", "takes no writes"),
    ("Timeout reading from socket", "no answer in time"),
    ("canceling statement due to statement timeout", "no answer in time"),
    ("[Errno 113] No route to host", "no way to the host"),
    ("server closed the connection unexpectedly", "connection lost"),
    ("there is no room in postgresql://trader:hush@10.0.0.7/ledger", "not available"),
]


@pytest.mark.parametrize(("said", "cause"), CASES, ids=[cause for _, cause in CASES])
def test_a_cause_is_told_in_words_of_our_own(said, cause):
    assert why(Exception(said)) == cause


def test_every_cause_has_a_message_that_leads_to_it():
    assert {cause for _, cause in CASES} == {*CAUSES, "not available"}
