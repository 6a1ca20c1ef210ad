"""Requests, each with what it was answered in the journal; an engine that is away is an answer, too."""

import asyncio
import time
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.bearer import given
from tests.chaos.clients.journal import Journal

PATIENCE_S = 10.0
"""How long a client waits for an answer."""
CONNECTIONS = 128
UNANSWERED = 0


class Http:
    """A client's connections to the API."""

    def __init__(self, url: str, journal: Journal) -> None:
        self.url = url
        self.journal = journal
        self.counts: Counter[str] = Counter()
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=given(), timeout=timeout
        )

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Send a request; return status and body: UNANSWERED and nothing where none came."""
        try:
            async with self.session.request(method, self.url + path, **more) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return UNANSWERED, None

    async def act(self, kind: str, method: str, path: str, asked: dict[str, Any], **more: Any) -> tuple[int, Any]:
        """Send a request that changes something, and write down what was asked and answered."""
        begun = time.time()
        status, body = await self.call(method, path, **more)
        self.journal.write(kind, asked=asked, status=status, body=body, **{"from": round(begun, 6)})
        self.counts[f"{kind} {status}"] += 1
        return status, body

    async def place(self, order: dict[str, Any]) -> tuple[int, Any]:
        """POST an order."""
        return await self.act("post", "POST", "/api/orders/execute", order, json=order)

    async def cancel(self, order_id: str) -> tuple[int, Any]:
        """DELETE an order."""
        return await self.act("delete", "DELETE", f"/api/orders/{order_id}", {"order": order_id})

    async def cancel_pair(self, pair: str) -> tuple[int, Any]:
        """DELETE all orders of a pair that wait."""
        return await self.act("delete_pair", "DELETE", f"/api/orders?{urlencode({'pair': pair})}", {"pair": pair})

    async def amend(self, order_id: str, seq: int, changes: dict[str, str]) -> tuple[int, Any]:
        """PATCH an order whose last event is `seq`."""
        asked = {"order": order_id, "ifMatch": seq, "changes": changes}
        headers = {"If-Match": f'"{seq}"'}
        return await self.act("patch", "PATCH", f"/api/orders/{order_id}", asked, json=changes, headers=headers)

    async def read(self, kind: str, order_id: str, path: str, tries: int = 5) -> bool:
        """GET something of an order, and write it down; False when it was not answered 200."""
        for number in range(tries):
            status, body = await self.call("GET", path)
            if status == 200:
                self.journal.write(kind, order=order_id, body=body)
                return True
            await asyncio.sleep(0.5 * number)
        return False

    async def close(self) -> None:
        """Close every connection."""
        await self.session.close()
