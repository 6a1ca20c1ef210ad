"""Deliver events to webhooks: a duty of the dead-letter worker, on a thread of its own.

At least once, and each order's events in sequence: one process at a time delivers a webhook, batch after batch of the
journal, and its cursor moves only after the receiver has taken a batch.  A batch that failed is sent again after a
while.  Calls wait on one event loop, and receivers that failed or were slow have at most half of the places, a webhook
one, and an account a few: they keep nobody else waiting.
"""

import asyncio
import hashlib
import random
import threading
import time
from collections import Counter
from typing import Any

import structlog
from django.conf import settings

from engine.retry import away_ms
from orders.operations import webhook_calls
from orders.operations.webhook_calls import PLACES, Answer
from orders.stores import event_codec, journal, webhooks
from orders.stores.threads import aside
from orders.stores.webhooks import Claim
from orders.telemetry import metrics

log = structlog.get_logger(__name__)

BATCH = 100
"""About how many events one call has."""
EVERY_S = 0.5
"""How often webhooks with something to deliver are searched for."""
OF_AN_ACCOUNT = 16
"""Calls in flight from which an account gets no more places."""
FIRST_WAIT_MS, LONGEST_WAIT_MS = 1_000, 600_000
SENT_BY_S = webhooks.LEASE_S - webhook_calls.WITHIN_S - 5
"""Age of a lease from which nothing is sent under it: it could end before the answer comes."""
ENDS_WITHIN_S = 2.0
CLOSED = "the account is closed, or has no API key with the scope admin any more, which a webhook with `all` needs"


class Deliverer:
    """Delivers until stopped."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.work()), name="webhooks", daemon=True)
        self.calls: dict[asyncio.Task[None], tuple[Claim, bool]] = {}
        """Deliveries in flight, of what, and whether each has one of the places for slow receivers."""

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Stop; what is in flight is given up, and sent again by whoever takes over."""
        self.stopping.set()
        self.thread.join(ENDS_WITHIN_S)

    async def work(self) -> None:
        """Deliver what there is, round after round."""
        while not self.stopping.is_set():
            try:
                await self.round()
            except Exception as reason:
                # The thread must survive the outage of any store.
                log.warning("webhooks not read, will retry", reason=repr(reason))
                await asyncio.sleep(EVERY_S)
            await self.pause()
        for task in self.calls:
            task.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)

    async def round(self) -> None:
        """Begin to deliver what is due, as far as there are places."""
        for slow in (False, True):
            free = PLACES - len(self.calls)
            if slow:
                free = min(free, PLACES // 2 - sum(is_slow for _, is_slow in self.calls.values()))
            if free > 0:
                await self.begin(free, slow)

    async def begin(self, free: int, slow: bool) -> None:
        """Begin so many deliveries at most."""
        # Who changes a webhook frees it at once, but its call under way keeps its place.
        busy = [held.id for held, _ in self.calls.values()]
        of_accounts = Counter(held.account for held, _ in self.calls.values())
        sated = [account for account, count in of_accounts.items() if count >= OF_AN_ACCOUNT]
        began = time.monotonic()
        for held in await aside(webhooks.claim, free, slow=slow, busy=busy, sated=sated):
            self.calls[asyncio.create_task(deliver(held, began))] = (held, slow)

    async def pause(self) -> None:
        """Wait until a delivery is over, which may have been one of several, or for EVERY_S."""
        if not self.calls:
            await asyncio.sleep(EVERY_S)
            return
        done, _ = await asyncio.wait(self.calls, timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self.calls[task]
            if reason := task.exception():
                # Its lease ends by itself, and it is tried again.
                log.error("webhook not delivered", exc_info=reason)


async def deliver(held: Claim, claimed_at: float) -> None:
    """Deliver the next batch of a webhook; return once its name's resolving, too, is over.

    Raises DatabaseError.
    """
    if not held.entitled:
        await aside(webhooks.close, held, CLOSED)
        metrics.webhook("closed")
        log.warning("webhook closed", webhook_id=str(held.id), reason=CLOSED)
        return
    events, position, _ = await aside(journal.page, held.owner, held.cursor, BATCH)
    if time.monotonic() - claimed_at > SENT_BY_S:
        # Somebody else may have it by now.
        return
    answer = Answer("empty", None, "", 0)
    if events:
        message = event_codec.JSON.encode({"events": events, "cursor": str(position)})
        answer = await webhook_calls.call(held.url, message, headers(held, message, int(time.time())))
    await settle(held, position, len(events), answer)
    if answer.lookup and not answer.lookup.done():
        # Nothing ends it, so it keeps this call's place: of places and threads there are as many.
        await asyncio.gather(asyncio.wrap_future(answer.lookup), return_exceptions=True)


def headers(held: Claim, message: bytes, now_s: int) -> dict[str, str]:
    """Return the headers of Standard Webhooks for a message."""
    # The same for the same message of the same replay: a receiver may drop what it has by this id alone.
    digest = hashlib.blake2b(f"{held.id} {held.replays} ".encode() + message, digest_size=16).hexdigest()
    message_id = f"msg_{digest}"
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": webhooks.signature(held.secret_ids, message_id, now_s, message),
    }


async def settle(held: Claim, position: int, events: int, answer: Answer) -> None:
    """Note what a call came to.

    Raises DatabaseError.
    """
    about: dict[str, Any] = {"webhook_id": str(held.id), "status": answer.status, "ms": answer.ms}
    if not answer.error:
        is_ours = await aside(webhooks.advance, held, position, answer.status, answer.ms)
        log.info("webhook delivered", **about, events=events, cursor=position, overtaken=not is_ours)
        metrics.webhook(answer.outcome if is_ours else "overtaken")
        return
    wait_ms = away_ms(held.failures, random.random, FIRST_WAIT_MS, LONGEST_WAIT_MS)
    give_up_h = settings.ENGINE_WEBHOOK_GIVE_UP_H
    state = await aside(webhooks.fail, held, answer.error, answer.status, answer.ms, wait_ms, give_up_h)
    log.warning("webhook failed", **about, reason=answer.error, detail=answer.detail, wait_ms=wait_ms, state=state)
    metrics.webhook(answer.outcome if state != "failed" else "given_up")
