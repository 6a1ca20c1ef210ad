"""Why a store cannot be used, in words that anyone may read: no address, no user, no database."""

import re

CAUSES = {
    # Before "refused": RabbitMQ refuses a login with that word.
    "login refused": r"password|authenticat|login|wrongpass|noauth|noperm|access_refused|pg_hba|role .* does not",
    "connection refused": r"refused",
    "shutting down": r"shutting down|terminating connection",
    "starting up": r"starting up|recovery mode|loading",
    "too many connections": r"too many|connection slots|max number of clients",
    "database or tables missing": r"does not exist",
    "host name unknown": r"translate host|resolv|name or service|no address associated|getaddrinfo",
    "takes no writes": r"read.?only|misconf|\boom\b|no space left|noreplicas",
    "no answer in time": r"time[d ]*out|couldn't get a connection|no answer|canceling statement",
    "no way to the host": r"unreachable|no route",
    "connection lost": r"closed|reset|broken pipe|lost|eof",
}
"""What is said, and the words of the stores' clients it is said for; the first that fits."""


def why(reason: BaseException) -> str:
    """Return the cause of a store's failure.

    The clients' own messages name host, port, user and database: log them, and show this.
    """
    text = str(reason).lower()
    return next((cause for cause, words in CAUSES.items() if re.search(words, text)), "not available")
