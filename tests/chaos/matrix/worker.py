"""The worker A: everything the engine does, on a thread of its own, until the blow falls."""

import threading
from collections.abc import Callable

from django.db import connection

from orders.stores.claims import hands
from routing import epochs
from routing.crashpoints import Moment
from tests.chaos.matrix.stage import Dead, stage
from tests.chaos.matrix.world import ROUNDS, World

PATIENCE_S = 60.0


class Worker:
    """Goes rounds in a world until something has befallen it; what it is doing then it finishes, if it can.

    `strike` is called at every boundary, and says whether this was it.
    """

    def __init__(self, world: World, strike: "Callable[[Worker, str, Moment], bool] | None" = None) -> None:
        self.world = world
        self.strike = strike
        self.struck = self.died = False
        self.stopped, self.go_on = threading.Event(), threading.Event()
        self.knows = 0
        self.thread = threading.Thread(target=self.live, name="A", daemon=True)

    def start(self) -> None:
        """Begin; return when it has ended, or is frozen."""
        self.world.worker, self.world.boundary = self.thread, self.at
        self.thread.start()
        assert self.stopped.wait(PATIENCE_S), "the worker hangs"

    def at(self, step: str, moment: Moment) -> None:
        """Come to a boundary."""
        if self.strike is not None and not self.struck:
            self.strike(self, step, moment)

    def die(self) -> None:
        """End here and now."""
        self.struck = self.died = True
        stage.bury()
        raise Dead

    def freeze(self) -> None:
        """Stand still until `wake`; what it knows of the epoch it knows then, whatever others have learned."""
        self.struck, knows = True, epochs.known()
        self.stopped.set()
        assert self.go_on.wait(PATIENCE_S), "nobody wakes the worker"
        if knows:
            epochs._known = knows
        self.world.do(hands.renew)

    @property
    def is_frozen(self) -> bool:
        """Tell whether it stands still."""
        return self.stopped.is_set() and self.thread.is_alive() and not self.go_on.is_set()

    def wake(self) -> None:
        """Let it go on, and wait for its end."""
        self.go_on.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the worker hangs"

    def live(self) -> None:
        """Go rounds until struck, or until there is nothing more to do."""
        try:
            for _ in range(ROUNDS):
                if self.goes_round():
                    return
                self.world.pass_time()
        except Dead:
            pass
        finally:
            connection.close()
            self.stopped.set()

    def goes_round(self) -> bool:
        """Go one round; tell whether it was the last."""
        for act in self.world.round():
            self.world.acts += 1
            self.world.do(act)
            if self.struck:
                # Its pulse goes on.
                self.world.do(hands.renew)
                return True
        return self.world.is_at_rest()
