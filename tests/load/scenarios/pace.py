"""How many orders, how fast, and how many at a time: an even pace that does not slow down with the engine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A load: an order is due every `60 / orders_per_minute` s, and `concurrent` may be on their way at a time."""

    orders_per_minute: float
    concurrent: int
    seconds: float

    @property
    def orders(self) -> int:
        """Return how many orders are asked for in all."""
        return max(1, round(self.orders_per_minute * self.seconds / 60))

    def due_s(self, number: int) -> float:
        """Return when an order is due, in seconds after the first."""
        return number * 60 / self.orders_per_minute


PROFILES = {"brief": Profile(100, 10, 120), "more": Profile(1_200, 100, 120)}
