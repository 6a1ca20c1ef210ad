"""The crash matrix: every step of an order's path, at each of which a worker dies, freezes, or loses its stores.

A *life* (lives.py) is what happens to one order; a *cell* (cells.py) is a life, what the chain makes of its first
transaction (chain.py), a step of the engine (routing/crashpoints.py), and a *blow* that is struck at that step
(blows.py).  The engine runs in this process, on real stores: worker A on a thread of its own, up to the blow; then
everybody else (engine.py) until nothing moves any more.  What is checked then is in checks.py.

    python -m tests.chaos.matrix
"""
