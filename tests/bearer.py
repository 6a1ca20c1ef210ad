"""How every client of these tests shows its API key to the engine."""

import os

API_KEY = "ENGINE_API_KEY"


def bearer(api_key: str) -> dict[str, str]:
    """Return the headers of a request or handshake with this key; none without a key."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def given() -> dict[str, str]:
    """Return the headers with the key that this process was started with."""
    return bearer(os.environ.get(API_KEY, ""))
