"""A chain in memory that does with a transaction what its cell says, and keeps its own record of what it executed.

As on a real one, a signature is executed once at most, however often it is sent, and never above its last valid height.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from solders.hash import Hash

from routing.chain import Blockhash, ChainUnreachable, Finding, Landing, Look
from routing.transactions import Received, receive

VALID = 40
"""Blocks for which a blockhash can be used."""
LATE = 25
"""Blocks after which a transaction lands that lands late."""
FINALITY = 8
FEE_LAMPORTS = 5_000
START = 1_000


class Outcome(StrEnum):
    """What becomes of a transaction."""

    LANDS = "lands"
    DROPPED = "dropped"
    """However often it is sent."""
    LATE = "lands late"
    """When its worker's lease has run out, and before its blockhash has."""
    REJECTED = "rejected"
    """By the venue's program: another try may help."""
    SLIPS = "slips"
    """It would pay less than its minimum: an order that waits goes back to the book."""
    TIMES_OUT = "times out, lands"
    """The node takes it and does not answer."""


REFUSALS = {
    Outcome.REJECTED: ("program_error", "the program failed"),
    Outcome.SLIPS: ("slippage_exceeded", "the pool pays less than the minimum"),
}


@dataclass(frozen=True, slots=True)
class Executed:
    """One line of the chain's record: whose transaction, by its memo, what it sold and what it got, in base units."""

    signature: str
    order_id: str
    attempt: int
    amount_in: int
    amount_out: int
    landing: Landing
    slot: int
    error_code: str = ""
    error: str = ""

    def finding(self) -> Finding:
        """Tell what is known of it."""
        paid = self.amount_out if self.landing is Landing.LANDED else 0
        return Finding(self.signature, self.landing, self.slot, paid, FEE_LAMPORTS, self.error_code, self.error)


@dataclass
class ScriptedChain:
    """A Chain.  `fates` are of the signatures it receives, in the order of their first arrival; later ones land."""

    fates: list[Outcome]
    height: int = START
    executed: dict[str, Executed] = field(default_factory=dict)
    fate_of: dict[str, Outcome] = field(default_factory=dict)
    late: dict[str, tuple[int, Received]] = field(default_factory=dict)
    valid_until: dict[str, int] = field(default_factory=dict)
    deaf: bool = False
    """It does not hear the next broadcast."""
    mute: bool = False
    """It takes the next broadcast and does not answer."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def blockhash(self) -> Blockhash:
        """Return the hash of the present height."""
        with self.lock:
            name = str(Hash.from_bytes(self.height.to_bytes(32)))
            self.valid_until[name] = self.height + VALID
            return Blockhash(name, self.height + VALID)

    def send(self, transactions: Sequence[bytes]) -> None:
        """Take transactions in, each as its fate has it."""
        with self.lock:
            deaf, mute, self.deaf, self.mute = self.deaf, self.mute, False, False
            if deaf:
                raise ChainUnreachable("no route to the node")
            fates = [self.take(receive(raw)) for raw in transactions]
            if mute or Outcome.TIMES_OUT in fates:
                raise ChainUnreachable("the node took it in and did not answer")

    def take(self, received: Received) -> Outcome | None:
        """Take one in; return its fate on its first arrival."""
        if received.signature in self.fate_of:
            self.act(received, self.fate_of[received.signature])
            return None
        fate = self.fate_of[received.signature] = self.fates.pop(0) if self.fates else Outcome.LANDS
        self.act(received, fate)
        return fate

    def act(self, received: Received, fate: Outcome) -> None:
        """Do with a transaction what its fate says."""
        if fate is Outcome.LATE:
            self.late.setdefault(received.signature, (self.height + LATE, received))
        elif fate is not Outcome.DROPPED:
            self.execute(received, *REFUSALS.get(fate, ("", "")))

    def execute(self, received: Received, code: str, error: str) -> None:
        """Write it into the record, unless it is there, or too late."""
        if received.signature in self.executed or self.height > self.valid_until[received.blockhash]:
            return
        swap, landing = received.swap, Landing.REJECTED if code else Landing.LANDED
        # The worst pool that the transaction puts up with: what it gets too little of shows.
        self.executed[received.signature] = Executed(
            received.signature, swap.order_id, swap.attempt, swap.amount_in, swap.min_out, landing, self.height,
            code, error,
        )  # fmt: skip

    def pass_blocks(self, count: int) -> None:
        """Let blocks pass, and land in them what is due."""
        for _ in range(count):
            with self.lock:
                self.height += 1
                for height, received in self.late.values():
                    if height == self.height:
                        self.execute(received, "", "")

    def look(self, signatures: Sequence[str]) -> Look:
        """Tell what is known of signatures."""
        with self.lock:
            found = {one: self.executed[one].finding() for one in signatures if one in self.executed}
            unknown = {one: Finding(one, Landing.UNKNOWN) for one in signatures}
            return Look(self.height - FINALITY, unknown | found)

    def landed(self, order_id: str) -> list[Executed]:
        """Return what landed of an order's transactions."""
        with self.lock:
            return [one for one in self.executed.values() if one.order_id == order_id and one.landing is Landing.LANDED]
