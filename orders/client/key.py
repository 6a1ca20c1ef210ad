"""The API key, and where it may be sent."""

import os
import re

import httpx

VARIABLE = "ENGINE_API_KEY"
SENDABLE = re.compile(r"[\x21-\x7e]*", re.ASCII)
SECURE = ("https", "wss")


class Key:
    """An API key of the engine at `url`; its text is in no repr, log or error."""

    __slots__ = ("_text", "_url")

    def __init__(self, url: str, text: str | None) -> None:
        """Take the key, or without one that of the environment; an empty text stands for none.

        Raises ValueError if it cannot be sent.
        """
        self._url, self._text = url, (os.environ.get(VARIABLE, "") if text is None else text).strip()
        # The libraries beneath would show the header that they refuse.
        if not SENDABLE.fullmatch(self._text):
            raise ValueError("the API key must be printable ASCII without spaces")

    def headers(self, address: str) -> dict[str, str]:
        """Return the header that a request to an address sends: none to another origin than the engine's.

        Raises httpx.InvalidURL.
        """
        if not self._text or origin(address) != origin(self._url):
            return {}
        return {"Authorization": f"Bearer {self._text}"}


def origin(address: str) -> tuple[bool, str, int]:
    """Return what two addresses of one server have in common: TLS or not, host and port."""
    found = httpx.URL(address)
    secure = found.scheme in SECURE
    return secure, found.host, found.port or (443 if secure else 80)
