"""The swap formulas of the two venues' pools, on integers in base units."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.money import BPS, MATHS, PRICE_DIGITS, Token, less_bps

Q64 = 2**64
MAX_BINS = 70
"""The most bins one swap may cross (Meteora DLMM: bins per position array, docs.meteora.ag/dlmm)."""


class PoolExhausted(Exception):
    """The pool cannot fill this amount; it may fill a smaller one."""


def with_fee(taxed: int, fee_bps: int) -> int:
    """Return the smallest input of which `taxed` is left after the fee."""
    return -(-taxed * BPS // (BPS - fee_bps))


@dataclass(frozen=True, slots=True)
class ConstantProduct:
    """A Raydium standard pool: reserve_in * reserve_out stays constant (x * y = k)."""

    reserve_in: int
    reserve_out: int

    def out(self, amount_in: int, fee_bps: int) -> int:
        """Return the base units paid for `amount_in`, fee taken from the input first, rounded down.

        Raises PoolExhausted when that rounds to nothing.
        Source: Raydium AMM v4 `Calculator::swap_token_amount_base_in`.
        """
        taxed = less_bps(amount_in, fee_bps)
        paid = self.reserve_out * taxed // (self.reserve_in + taxed)
        if paid <= 0:
            raise PoolExhausted("the amount is too small to buy one base unit")
        return paid

    def needed(self, amount_out: int, fee_bps: int) -> int:
        """Return the smallest input, fee included, for which the pool pays at least `amount_out`, in base units.

        Raises PoolExhausted if the pool does not hold that much.
        Source: Raydium AMM v4 `Calculator::swap_token_amount_base_out`.
        """
        if amount_out >= self.reserve_out:
            raise PoolExhausted("the pool does not hold that much")
        return with_fee(-(-self.reserve_in * amount_out // (self.reserve_out - amount_out)), fee_bps)

    def spot(self, token_in: Token, token_out: Token) -> Decimal:
        """Return whole tokens out per whole token in for an infinitesimal trade, before fees."""
        ratio = MATHS.divide(Decimal(self.reserve_out), Decimal(self.reserve_in))
        return PRICE_DIGITS.scaleb(PRICE_DIGITS.plus(ratio), token_in.decimals - token_out.decimals)

    def as_dict(self) -> dict[str, str]:
        """Serialize the pool for the quote cache."""
        return {"model": "constant_product", "in": str(self.reserve_in), "out": str(self.reserve_out)}


@dataclass(frozen=True, slots=True)
class Bins:
    """A Meteora DLMM pool in one direction: equal liquidity in bins, each `step_bps` worse than the last.

    `price_q64` is base units out per base unit in as a Q64.64 fixed-point number.
    """

    price_q64: int
    step_bps: int
    bin_out: int

    def out(self, amount_in: int, fee_bps: int) -> int:
        """Return the base units paid for `amount_in`, fee taken from the input first, rounded down in each bin.

        Raises PoolExhausted past MAX_BINS bins, or when the amount rounds to nothing.
        Source: Meteora DLMM `Bin::swap`: within a bin the price is constant (x * p + y = L).
        """
        left = less_bps(amount_in, fee_bps)
        price, paid = self.price_q64, 0
        for _ in range(MAX_BINS):
            wanted = left * price // Q64
            if wanted <= self.bin_out:
                paid += wanted
                break
            paid += self.bin_out
            left -= -(-self.bin_out * Q64 // price)
            price = price * (BPS - self.step_bps) // BPS
        else:
            raise PoolExhausted(f"the amount crosses more than {MAX_BINS} bins")
        if paid <= 0:
            raise PoolExhausted("the amount is too small to buy one base unit")
        return paid

    def needed(self, amount_out: int, fee_bps: int) -> int:
        """Return the smallest input, fee included, for which the pool pays at least `amount_out`, in base units.

        Raises PoolExhausted past MAX_BINS bins.
        Source: Meteora DLMM `Bin::swap_exact_out`: in each bin the input is rounded up.
        """
        left, price, taxed = amount_out, self.price_q64, 0
        for _ in range(MAX_BINS):
            if not price:
                break
            part = min(left, self.bin_out)
            taxed += -(-part * Q64 // price)
            left -= part
            if not left:
                return with_fee(taxed, fee_bps)
            price = price * (BPS - self.step_bps) // BPS
        raise PoolExhausted(f"the amount crosses more than {MAX_BINS} bins")

    def spot(self, token_in: Token, token_out: Token) -> Decimal:
        """Return the active bin's price: whole tokens out per whole token in, before fees."""
        ratio = MATHS.divide(Decimal(self.price_q64), Decimal(Q64))
        return PRICE_DIGITS.scaleb(PRICE_DIGITS.plus(ratio), token_in.decimals - token_out.decimals)

    def as_dict(self) -> dict[str, str]:
        """Serialize the pool for the quote cache."""
        return {"model": "bins", "q64": str(self.price_q64), "step": str(self.step_bps), "out": str(self.bin_out)}


Pool = ConstantProduct | Bins


def pool_from(fields: Mapping[str, Any]) -> Pool:
    """Deserialize a pool written by `as_dict`."""
    if fields["model"] == "constant_product":
        return ConstantProduct(int(fields["in"]), int(fields["out"]))
    return Bins(int(fields["q64"]), int(fields["step"]), int(fields["out"]))
