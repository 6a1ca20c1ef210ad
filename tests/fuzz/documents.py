"""JSON documents, right and wrong, as bytes."""

import copy
import json
from random import Random
from typing import Any

ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 100}
LIMIT = {
    "type": "limit",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1",
    "limitPrice": "9999",
    "timeInForce": "ioc",
}
SNIPER = {
    "type": "sniper",
    "tokenIn": "SOL",
    "tokenOut": "WIF",
    "amount": "1",
    "expiresAt": "2020-01-01T00:00:00Z",
    "conditions": {"migration": True},
}
FOLLOW = {"follow": [{"orderId": "01a20491-4561-78b3-ab49-e00288d86960", "after": 0, "epoch": 1}], "unfollow": []}
GOOD: tuple[Any, ...] = (ORDER, LIMIT, SNIPER, {"orders": [ORDER, LIMIT]}, {"amount": "2"}, FOLLOW)
STRANGE: tuple[Any, ...] = (
    *(None, True, "", " ", [], {}, [[]], 0, -1, 10**30, 10**4000, -0.0, 1e308, 2**63, 2**64, 0.1),
    *("1e999999999", "-1", "NaN", "Infinity", "0x10", "1_000", "\u0661", "1.5\x00", "\ud800", "\U0001f600" * 100),
    *("'; DROP TABLE orders_order; --", "../../etc/passwd", "{{7*7}}", "<script>", "x" * 5000, "9" * 5000),
    *("2026-02-30T00:00:00Z", "0000-00-00", "9999-12-31T23:59:60+24:00", ["SOL"], {"symbol": "SOL"}),
)
TEXTS = (
    *(b"", b" ", b"\xef\xbb\xbf", b"null", b"NaN", b"-Infinity", b"{", b"}", b'"', b"[1,]", b"{,}", b'{"a":}', b"\x00"),
    *(b"1e999999999", b"-0", b"01", b"9" * 5000, b"1." + b"0" * 5000, b'"\\ud800"', b'"\\u12"', b"'a'", b"/**/{}"),
    *(
        b"[" * 9_000,
        b'{"a":' * 9_000,
        b"[" * 500 + b"]" * 500,
        b'{"amount":' * 300 + b"1" + b"}" * 300,
        b"\xff\xfe{\x00}\x00",
    ),
    *(
        b'{"type":"market","type":"limit"}',
        b'{"type":"market","amount":"1","amount":NaN,"tokenIn":"SOL","tokenOut":"USDC"}',
    ),
    *(
        b'{"follow":[],"follow":null}',
        b'{"orders":' + b"[" * 400 + b"]" * 400 + b"}",
        b" " * 70_000,
        b'{"orders":[' + b"{}," * 400 + b"{}]}",
    ),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037", "utf-7")


def document(rng: Random) -> bytes:
    """Return a document: half the time one that was right before some of it was replaced."""
    if rng.random() < 0.3:
        return rng.choice(TEXTS)
    tree = copy.deepcopy(rng.choice(GOOD))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        tree = replaced(rng, tree)
    text = json.dumps(tree)
    if rng.random() < 0.3:
        # The characters themselves, a lone surrogate as UTF-8 cannot have it.
        text = json.dumps(tree, ensure_ascii=False)
    if rng.random() < 0.1:
        return text.encode(rng.choice(ENCODINGS), "ignore")
    return spoiled(rng, text.encode("utf-8", "surrogatepass"))


def replaced(rng: Random, tree: Any) -> Any:
    """Replace, remove or add one value somewhere."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return copy.deepcopy(rng.choice(STRANGE))
    key = rng.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
    chance = rng.random()
    if chance < 0.1:
        del tree[key]
    elif chance < 0.2 and isinstance(tree, dict):
        tree[rng.choice(("", "\x00", "amount", "type", "x" * 300, "__proto__", "orderId"))] = copy.deepcopy(
            rng.choice(STRANGE)
        )
    else:
        tree[key] = replaced(rng, tree[key])
    return tree


def spoiled(rng: Random, data: bytes) -> bytes:
    """Now and then change, cut, double or remove some bytes."""
    while data and rng.random() < 0.2:
        at = rng.randrange(len(data))
        to = min(len(data), at + rng.choice((1, 1, 2, 10)))
        match rng.randrange(5):
            case 0:
                data = data[:at] + rng.randbytes(to - at) + data[to:]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:]
            case 3:
                data = data[:at]
            case 4:
                data = data[:at] + rng.choice((b"\x00", b"\r\n", b"\n", b"\xff", b" ", b"%", b":")) + data[at:]
    return data
