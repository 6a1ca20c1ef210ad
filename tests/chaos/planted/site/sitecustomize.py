"""Plant the bug that PLANTED_BUG names; Python imports this by itself, before anything of the engine."""

import os

if name := os.environ.get("PLANTED_BUG"):
    from tests.chaos.planted.planting import plant

    plant(name)
