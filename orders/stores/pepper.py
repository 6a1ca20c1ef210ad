"""The pepper: the secret without which the tables of API keys and webhooks are worth nothing."""

import hashlib
from functools import cache

from django.conf import settings


@cache
def pepper() -> bytes:
    """Return what digests of API keys are keyed with, and what webhooks' secrets are derived from."""
    given: str = settings.KEY_PEPPER()
    return hashlib.sha256(given.encode()).digest()
