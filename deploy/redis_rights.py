"""`python3 -m deploy.redis_rights FILE...`: prints the ACL file of the engine's Redis users, one for each role.

Each FILE holds the address of one of them, as the role gets it in REDIS_URL_FILE, or a password alone, which is the
default user's.  Redis keeps the digests of the passwords.  Needs no installed package.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

CONNECT = "hello client|setinfo ping info time"
"""What a client sends by itself, the store's clock, and the run id that tells a lost Redis."""
SCRIPTS = "eval evalsha script|load script|exists multi exec discard watch unwatch"
QUEUEING = (
    "llen lindex lpush rpush rpop brpop sadd srem smembers hget hset hdel zadd zrem zrange zrangebyscore"
    " get set del exists expire pexpire publish subscribe unsubscribe psubscribe punsubscribe"
)
"""What kombu needs, and its lock."""
COMMANDS = (
    "getdel mget mset hgetall hmget hincrby hsetnx hvals zcard zscore zpopmin zremrangebyscore zremrangebyrank"
    " xadd xrange xrevrange xread xreadgroup xgroup|create xack xautoclaim xpending xinfo|groups xinfo|stream"
    " xlen xtrim lrange ltrim"
)
"""What the engine's own calls and scripts need besides.  None of them lists keys, empties or configures the server."""

QUEUES = "~order ~limit ~sniper ~stream ~dbsync ~dlq"
BINDINGS = "~_kombu.binding*"
WORKER = f"{QUEUES} {BINDINGS} ~unacked* ~*.celery.pidbox &/0.celery.pidbox &/0.celeryev/* ~workers:alive"
"""Its queue, and the others', to which it returns what a dead worker has taken."""
EPOCH = "~store:epoch ~store:run ~store:comparing"
"""Whoever first sees that Redis was lost says so."""
STOPS = "~venues:paused ~guards %R~venues:failing &asgi__group__control"
"""Every role can stop trading, and every one is told of it, and of venues that fail."""
ORDERS = "~order:{* ~orders:* ~attempts:open ~dbsync:nudged ~limit_* ~limit:{* ~snipe:{* ~waiting:expiring"
"""Live orders, their events and the book: whoever finds an order lost restores it."""
MARKET = "%R~quotes:{* %R~sandbox:venues"

ENGINE = f"{CONNECT} {SCRIPTS} {QUEUEING} {COMMANDS}"
USERS: Mapping[str, tuple[str, str]] = {
    "api": (
        ENGINE,
        f"{EPOCH} {STOPS} {ORDERS} {MARKET} {QUEUES} {BINDINGS} &asgi* ~market:{{* ~ticket:{{* ~keys:connected:*"
        " %R~workers:alive %R~book:repaired",
    ),
    "order": (ENGINE, f"{EPOCH} {STOPS} {ORDERS} {WORKER} ~quotes:{{* %R~sandbox:venues"),
    "limit": (
        f"{ENGINE} scan hscan",
        f"{EPOCH} {STOPS} {ORDERS} {WORKER} {MARKET} ~venues:failing ~book:* ~balances:compared ~keys:connected:*",
    ),
    "sniper": (ENGINE, f"{EPOCH} {STOPS} {ORDERS} {WORKER} {MARKET} ~market:*"),
    "stream": (
        ENGINE,
        f"{EPOCH} {STOPS} {WORKER} ~venues:failing ~quotes:{{* ~market:* ~stream:* ~sandbox:*"
        " ~limit_seen:* ~limit_pairs %R~limit_levels:* %R~limit_claims:*",
    ),
    "dbsync": (ENGINE, f"{EPOCH} {STOPS} {ORDERS} {WORKER}"),
    "dlq": (ENGINE, f"{EPOCH} {STOPS} {WORKER} %R~order:{{* %R~orders:* ~retention:bookmark"),
    "beat": (f"{CONNECT} {SCRIPTS} {QUEUEING}", f"{EPOCH} {QUEUES} {BINDINGS}"),
    "flower": (
        f"{CONNECT} {SCRIPTS} {QUEUEING}",
        f"{QUEUES.replace('~', '%R~')} {BINDINGS} ~unacked_* ~celeryev.* ~*.celery.pidbox"
        " &/0.celery.pidbox &/0.celeryev/*",
    ),
    # KEDA asks for a queue's length by a script, whose keys count as written.
    "keda": ("hello client|setinfo ping eval type llen", QUEUES),
}
"""Each role's commands; the keys it reads and writes (`~`), or only reads (`%R~`), and its channels (`&`)."""


class WrongUsers(ValueError):
    """The addresses are not those of the engine's users; the message says which they must be."""


def name_of(role: str) -> str:
    """Return a role's user, `engine_` and its name."""
    return f"engine_{role}"


def acl(passwords: Mapping[str, str], roles: Iterable[str] = tuple(USERS)) -> str:
    """Return the ACL file of these roles; `passwords` by user.

    The default user may do everything, and is off without a password.  Raises WrongUsers unless each role's user has
    one.
    """
    users = {name_of(role): USERS[role] for role in roles}
    if wrong := passwords.keys() - {"default"} ^ users.keys():
        raise WrongUsers(f"needs the addresses of {', '.join(users)}; missing or unknown: {', '.join(sorted(wrong))}")
    if empty := sorted(name for name, password in passwords.items() if not password):
        raise WrongUsers(f"{', '.join(empty)}: the address has no password")
    owner = f"on #{digest(passwords['default'])} ~* &* +@all" if "default" in passwords else "off"
    lines = [f"user default reset {owner}"]
    for user, (commands, keys) in users.items():
        allowed = " ".join(f"+{command}" for command in commands.split())
        lines.append(f"user {user} reset on #{digest(passwords[user])} {keys} {allowed}")
    return "".join(f"{line}\n" for line in lines)


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def read(files: Iterable[Path]) -> dict[str, str]:
    """Return the users' passwords that these files hold."""
    texts = [file.read_text().strip() for file in files]
    parts = [urlsplit(text if "://" in text else f"redis://default:{text}@") for text in texts]
    return {unquote(one.username or "default"): unquote(one.password or "") for one in parts}


def main(arguments: list[str]) -> int:
    """Print it."""
    what = str(__doc__).partition(": ")[2]
    options = argparse.ArgumentParser(prog="python3 -m deploy.redis_rights", description=what)
    options.add_argument("files", nargs="+", type=Path, metavar="FILE")
    try:
        print(acl(read(options.parse_args(arguments).files)), end="")
    except (WrongUsers, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
