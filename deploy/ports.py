"""Where the API and Flower listen: their ports are claimed before anything else is started."""

import errno
import socket
from typing import Any

from deploy import metrics
from deploy.options import CannotStart


def claim_ports(settings: dict[str, Any], *, api: bool = True, flower: bool) -> socket.socket | None:
    """Listen on the API's port at once and check Flower's; raises CannotStart naming the port and its setting."""
    host = settings["ENGINE_HOST"]
    listener = bound(host, settings["ENGINE_PORT"], "ENGINE_PORT") if api else None
    if flower:
        if api and settings["ENGINE_FLOWER_PORT"] == settings["ENGINE_PORT"]:
            raise CannotStart(f"ENGINE_PORT and ENGINE_FLOWER_PORT are both {settings['ENGINE_PORT']}", 2)
        bound(host, settings["ENGINE_FLOWER_PORT"], "ENGINE_FLOWER_PORT").close()
    if listener:
        listener.listen(2048)
    return listener


def bound(host: str, port: int, setting: str) -> socket.socket:
    """A TCP socket bound to that address; raises CannotStart with what to change."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as problem:
        raise CannotStart(f"ENGINE_HOST={host}: this machine has no such address ({problem.strerror})", 2) from problem
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(where)
    except OSError as problem:
        found.close()
        raise CannotStart(refused(host, port, setting, problem), 2) from problem
    return found


def refused(host: str, port: int, setting: str, problem: OSError) -> str:
    """Say why an address could not be taken and which setting changes it."""
    if problem.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken by another program.\n"
            f"Set {setting} to a free one, for example: {setting}={port + 1} python3 manage.py up"
        )
    if problem.errno == errno.EACCES:
        return f"port {port} needs privileges this account does not have. Set {setting} to one above 1023."
    return f"ENGINE_HOST={host}: this machine cannot listen there ({problem.strerror})"


def address(host: str) -> str:
    """The address under which this machine reaches what listens on `host`."""
    return metrics.ANY_ADDRESS.get(host, host)


def located(host: str) -> str:
    """The same as it is written in a URL."""
    found = address(host)
    return f"[{found}]" if ":" in found else found
