"""The control's prices and chain: those of the run, without venues."""

import math
import os
import random
import time
from fractions import Fraction
from functools import cache
from pathlib import Path

from routing.sandbox import faults
from routing.sandbox.replay import PICO, Replay
from tests.chaos.control.book import Json, sql
from tests.chaos.control.tables import TOKENS

DOLLARS = {"USDC": 1.0, "JUP": 0.85, "WIF": 1.9, "BONK": 0.000022}
FEE_LAMPORTS = 5_000


class Unanswered(Exception):
    """The chain did not answer: who knows what it did."""


@cache
def replay() -> Replay:
    """Return the run's prices."""
    return Replay.load(Path(os.environ["MARKET_REPLAY"]), 60, float(os.environ["MARKET_REPLAY_START"]))


@cache
def misbehaviour():
    """Return what tells how the chain misbehaves."""
    return faults.following(Path(os.environ["MOCK_FAULTS"]))


def dollars(token: str) -> Fraction:
    """Return what a token is worth now."""
    if token == "SOL":
        return Fraction(replay().pico_usd(int(time.time() * 1000)), PICO)
    return Fraction(DOLLARS[token])


def price(pair: str) -> Fraction:
    """Return what the pair is worth now, less fee: whole tokens out per whole token in."""
    sold, bought = pair.split("-")
    return dollars(sold) / dollars(bought) * Fraction(9_980, 10_000)


def pays(order: Json) -> int:
    """Return what an order would get now, in base units."""
    sold, bought = (TOKENS[token][1] for token in order["pair"].split("-"))
    return int(Fraction(order["amount_in"]) * price(order["pair"]) * Fraction(10) ** (bought - sold))


def takes(order: Json) -> int:
    """Return what an order that buys an exact amount would have to sell now, in base units."""
    sold, bought = (TOKENS[token][1] for token in order["pair"].split("-"))
    return math.ceil(Fraction(order["amount_out"]) / price(order["pair"]) * Fraction(10) ** (sold - bought))


def least(order: Json) -> int:
    """Return the least that an order's own price allows, in base units; 0 when it names none."""
    sold, bought = (TOKENS[token][1] for token in order["pair"].split("-"))
    floor = Fraction(order["limit_price"] or 0) * Fraction(order["amount_in"]) * Fraction(10) ** (bought - sold)
    return math.ceil(floor)


def send(order: Json, attempt: int, expected: int) -> str:
    """Sign a transaction of an order, have the chain execute it, and return its signature.

    Raises Unanswered.
    """
    chain = misbehaviour()().chain
    if chain.down or chain.hang_ms:
        raise Unanswered
    signature = f"{random.getrandbits(256):064x}"
    if random.random() >= max(0.02, chain.drop_rate):
        taken, least, most = order["amount_in"], expected * (10_000 - order["slippage_bps"]) // 10_000, None
        if order["amount_out"] is not None:
            taken, expected, least, most = takes(order), order["amount_out"], order["amount_out"], order["amount_in"]
        sql(
            "INSERT INTO routing_ledgerentry VALUES (%s, extract(epoch FROM now())::bigint, now() + %s * interval"
            " '1 second', 'landed', %s, %s, %s, 'METEORA', %s, %s, %s)",
            signature, random.uniform(0.02, 0.6) + chain.late_ms / 1000, expected, FEE_LAMPORTS,
            f"{order['id']}:{attempt}", taken, least, most,
        )  # fmt: skip
    if random.random() < chain.unanswered_rate:
        raise Unanswered
    return signature


def landed(signature: str) -> Json | None:
    """Look a transaction up."""
    query = "SELECT * FROM routing_ledgerentry WHERE signature = %s AND lands_at <= now()"
    return next(iter(sql(query, signature)), None)
