"""Signed swaps for the tests of what carries them."""

from itertools import count

from solders.hash import Hash
from solders.keypair import Keypair

from routing.transactions import Signed, Swap, Wallet, sign
from tests.engine.tokens import SOL, USDC

WALLET = Wallet.of(Keypair.from_seed(bytes(32)))
BLOCKHASH = str(Hash.hash(b"tests"))
numbers = count()


def swap(order_id=None, **facts):
    """Return a swap of 1.5 SOL for whatever USDC it brings; every one is another order's."""
    known = {
        "attempt": 1,
        "venue": "RAYDIUM",
        "mint_in": SOL.mint,
        "mint_out": USDC.mint,
        "amount_in": 1_500_000_000,
        "min_out": 1,
    }
    return Swap(order_id or f"order-{next(numbers)}", **(known | facts))


def signed(blockhash=BLOCKHASH, **facts) -> Signed:
    return sign(swap(**facts), blockhash, WALLET)
