"""Call a webhook's address: one POST, to an address that was checked, within a time limit.

A client names the address, so it must not reach what only the engine can reach.  The name is resolved once, every
address of it is checked, and the connection goes to a checked one: a name that resolves to something else a moment
later gains nothing.  Redirects are not followed, proxies are not used, and the answer's body is not read.  What the
client is told is the same for a name that is not known, one that is not resolved in time and one of a private address,
so nobody maps the engine's network by it.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx
from django.conf import settings

WITHIN_S = 10.0
"""How long a call may take, from resolving the name to the status of the answer."""
PLACES = 64
"""Calls in flight at a time, and threads that resolve their names."""
URL_MAX = 500
NOT_PUBLIC = "has a host of which no public address is known"
UNCERTIFIED = "CERTIFICATE_VERIFY_FAILED"
NAT64 = ip_network("64:ff9b::/96")
"""IPv6 addresses whose last 32 bits are an IPv4 address (RFC 6052)."""

Address = IPv4Address | IPv6Address


class NotAllowed(Exception):
    """The address may not be called; the message reads on after the field's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: `error`, for the webhook's owner, is empty if the receiver has taken the message.

    `detail` is for operators alone.  `lookup` may outlive the call: nothing ends the resolving of a name.
    """

    outcome: str
    status: int | None
    error: str
    ms: int
    detail: str = ""
    lookup: "Future[list[str]] | None" = None


def parsed(url: str) -> httpx.URL:
    """Read an address that may be called, as far as that can be told without resolving its name.

    Raises NotAllowed.
    """
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise NotAllowed("is not a URL") from None
    # As it is stored and called: other letters than ASCII take more room there.
    if max(len(url), len(str(found))) > URL_MAX:
        raise NotAllowed(f"has more than {URL_MAX} characters, some of which are written as several")
    if found.scheme != "https" and not (settings.ENGINE_WEBHOOK_PRIVATE and found.scheme == "http"):
        raise NotAllowed("must begin with https://")
    if not found.host or found.userinfo or found.fragment or found.port == 0:
        raise NotAllowed("must have a host, and neither user, password nor fragment")
    try:
        literal = ip_address(found.host)
    except ValueError:
        return found
    refuse_private(literal)
    return found


def refuse_private(address: Address) -> None:
    """Refuse an address that is not on the public internet.

    Raises NotAllowed.
    """
    if not settings.ENGINE_WEBHOOK_PRIVATE and not is_public(reached(address)):
        raise NotAllowed(NOT_PUBLIC) from OSError(f"{address} is not public")


def reached(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or else the address itself."""
    if isinstance(address, IPv6Address) and address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return getattr(address, "ipv4_mapped", None) or address


def is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.is_site_local or address.sixtofour or address.teredo):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_private)


@cache
def resolvers() -> ThreadPoolExecutor:
    """Return the threads that resolve names."""
    return ThreadPoolExecutor(PLACES, thread_name_prefix="resolve")


@cache
def trust() -> ssl.SSLContext:
    """Return what certificates are verified by; making it takes long."""
    return httpx.create_ssl_context()


def resolving(url: httpx.URL) -> "Future[list[str]]":
    """Begin to resolve the host's name."""
    port = url.port or (443 if url.scheme == "https" else 80)
    return resolvers().submit(lookup, url.raw_host.decode(), port)


def lookup(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


async def checked(resolved: "Future[list[str]]") -> list[str]:
    """Return the addresses of a host if all of them may be called.

    Raises NotAllowed, OSError, UnicodeError.
    """
    found = await asyncio.wrap_future(resolved)
    for one in found:
        refuse_private(ip_address(one))
    return found


async def call(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Post a message, and return what came of it; whatever the receiver does is no error here."""
    began = time.monotonic()
    outcome, status, error, detail, resolved = "unreachable", None, "", "", None
    try:
        async with asyncio.timeout(WITHIN_S):
            target = parsed(url)
            resolved = resolving(target)
            status = await post(target, await checked(resolved), body, headers)
        outcome = "delivered" if 200 <= status < 300 else "refused"
        error = "" if outcome == "delivered" else f"the receiver answered {status}"
    except NotAllowed as reason:
        outcome, error, detail = "forbidden", f"the URL {reason}", repr(reason.__cause__ or reason)
    except TimeoutError:
        is_resolved = resolved is not None and resolved.done()
        error = f"no answer within {WITHIN_S:g} s" if is_resolved else f"the URL {NOT_PUBLIC}"
        detail = "" if is_resolved else "the name was not resolved in time"
    except (OSError, httpx.HTTPError, UnicodeError) as reason:
        error, detail = told(reason), repr(reason)
    return Answer(outcome, status, error, int((time.monotonic() - began) * 1000), detail, resolved)


def told(reason: Exception) -> str:
    """Say what was wrong in the words for the webhook's owner, without an address or anything else of our network."""
    if isinstance(reason, httpx.ConnectError | httpx.ConnectTimeout):
        why = ": its certificate is not valid" if UNCERTIFIED in str(reason) else ""
        return f"no connection to the receiver{why}"
    if isinstance(reason, httpx.HTTPError):
        return "the receiver broke the connection off, or did not speak HTTP"
    return f"the URL {NOT_PUBLIC}"


async def post(url: httpx.URL, at: Sequence[str], body: bytes, headers: Mapping[str, str]) -> int:
    """Post to the first of the addresses that takes a connection; return the status.

    Raises OSError, HTTPError.
    """
    host = url.raw_host.decode()
    given = {**headers, "content-type": "application/json", "user-agent": "order-engine", "host": url.netloc.decode()}
    reason: Exception = OSError(f"{host} has no address")
    for address in at:
        # A client of its own: a connection that is kept open could be used for another name at the same address.
        async with httpx.AsyncClient(verify=trust(), trust_env=False, timeout=WITHIN_S) as client:
            target, tls = url.copy_with(host=address), {"sni_hostname": host}
            try:
                async with client.stream("POST", target, content=body, headers=given, extensions=tls) as answer:
                    return answer.status_code
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                reason = failed
    raise reason
