"""A proxy in front of the API hosts: HAProxy where there is one, else a few lines that hand connections out in turn.

`python -m tests.hosts.proxy ADDRESS:PORT TARGET:PORT …` is these few lines.
"""

import asyncio
import itertools
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.hosts.network import Host

PORT = 8080
CHUNK = 65_536
CONNECTS_S = 1.0
CONFIGURATION = """\
global
    maxconn 4000
defaults
    mode http
    option redispatch
    retries 3
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    timeout check 2s
frontend clients
    bind {address}:{port}
    default_backend api
backend api
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""
KINDS = {
    "haproxy": shutil.which("haproxy"),
    "in turn": sys.executable,
}
"""Proxies by name, each with its program; None where it is not installed."""


def start(kind: str, host: Host, targets: Sequence[str], folder: Path) -> str:
    """Start that proxy on this host for these targets, `address:port` each; return its URL."""
    log, program = folder / "logs" / f"{host.name}.log", KINDS[kind]
    assert program is not None
    if kind == "haproxy":
        servers = "\n".join(f"    server api{n} {target}" for n, target in enumerate(targets, 1))
        path = folder / f"{host.name}.cfg"
        path.write_text(CONFIGURATION.format(address=host.address, port=PORT, servers=servers))
        host.start([program, "-db", "-f", path], log, {})
    else:
        host.start([program, "-m", "tests.hosts.proxy", f"{host.address}:{PORT}", *targets], log, {})
    return f"http://{host.address}:{PORT}"


async def serve(here: str, targets: Sequence[str]) -> None:
    """Hand each connection to the next target; one that cannot be reached is passed over."""
    turns = itertools.cycle(range(len(targets)))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(turns)
        for target in (*targets[turn:], *targets[:turn]):
            with suppress(OSError, TimeoutError):
                there, to_there = await asyncio.wait_for(asyncio.open_connection(*parted(target)), CONNECTS_S)
                await asyncio.gather(pump(reader, to_there), pump(there, writer))
                return
        writer.close()

    server = await asyncio.start_server(handle, *parted(here))
    await server.serve_forever()


def parted(target: str) -> tuple[str, int]:
    """Read `address:port`."""
    address, _, port = target.rpartition(":")
    return address, int(port)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until either end has gone."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
