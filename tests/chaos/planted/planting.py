"""Replaces a function right after its module was imported, before anybody else takes it from there."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from tests.chaos.planted.bugs import BUGS, Bug

PLANTED = "planted_bug"
"""What a module with a bug in it is marked with."""


class Planting(Loader):
    """Executes a module as ever, then plants a bug in it."""

    def __init__(self, loader: Loader, bug: Bug) -> None:
        self.loader = loader
        self.bug = bug

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave that to the module's own loader."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, and replace what is to be replaced."""
        self.loader.exec_module(module)
        assert self.bug.plant is not None
        self.bug.plant(module)
        setattr(module, PLANTED, self.bug.name)


class Planter(MetaPathFinder):
    """Finds the one module that gets the bug."""

    def __init__(self, bug: Bug) -> None:
        self.bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own spec, with a loader that plants."""
        if fullname != self.bug.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Planting(spec.loader, self.bug)
        return spec


def plant(name: str) -> None:
    """Have a bug planted in this process.

    Ends the process for a name nobody knows, or a bug that has no place in the code yet.
    """
    bug = BUGS.get(name)
    if bug is None:
        sys.exit(f"there is no bug {name!r} to plant: {', '.join(BUGS)}")
    if bug.plant is None:
        sys.exit(f"the bug {name!r} is named and not written: {bug.step}")
    sys.meta_path.insert(0, Planter(bug))
