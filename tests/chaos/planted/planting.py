"""Changes source text of the engine on its way into a process: nothing on disk is touched."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from config.env import ROOT
from tests.chaos.planted.bugs import BUGS, Bug

READS_LUA = "routing.store"
"""The module whose `lua` reads every script."""

changed: set[str] = set()
"""The files that were changed in this process."""


class Misplaced(Exception):
    """The code has changed: what the bug is to replace is not there any more, or more than once."""


def with_bug(bug: Bug, path: Path, text: str) -> str:
    """Return a file's text as the bug has it.

    Raises Misplaced.
    """
    for edit in bug.edits:
        if ROOT / edit.file == path:
            if text.count(edit.says) != 1:
                raise Misplaced(f"{bug.name}: {edit.file} says {text.count(edit.says)} times: {edit.says}")
            text = text.replace(edit.says, edit.becomes)
            changed.add(edit.file)
    return text


def check(bug: Bug) -> None:
    """Let a bug pass that can be planted.

    Raises Misplaced.
    """
    for file in {edit.file for edit in bug.edits}:
        with_bug(bug, ROOT / file, (ROOT / file).read_text("utf-8"))


class Planting(SourceFileLoader):
    """Loads a module with the bug in it; compiled code that is kept on disk is neither used nor written."""

    def __init__(self, fullname: str, path: str, bug: Bug) -> None:
        super().__init__(fullname, path)
        self.bug = bug

    def get_code(self, fullname: str) -> CodeType:
        """Compile the module's text as the bug has it."""
        text = self.get_data(self.path).decode("utf-8")
        code: CodeType = compile(with_bug(self.bug, Path(self.path), text), self.path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Run the module; the one that reads scripts reads them as the bug has them."""
        super().exec_module(module)
        if module.__name__ == READS_LUA:
            module.lua = reading(self.bug, module.lua)  # type: ignore[attr-defined]


def reading(bug: Bug, lua: Callable[[Path], str]) -> Callable[[Path], str]:
    """Return what reads scripts as the bug has them."""
    return lambda path: with_bug(bug, path, lua(path))


class Planter(MetaPathFinder):
    """Finds the modules that a bug changes."""

    def __init__(self, bug: Bug) -> None:
        self.bug = bug
        names = {edit.file.removesuffix(".py").replace("/", ".") for edit in bug.edits if edit.file.endswith(".py")}
        self.names = {*names, READS_LUA}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own spec, with a loader that plants."""
        if fullname not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = Planting(fullname, spec.origin, self.bug)
        return spec


def plant(name: str) -> None:
    """Have a bug planted in this process.

    Ends the process for a name nobody knows.
    """
    bug = BUGS.get(name)
    if bug is None:
        sys.exit(f"there is no bug {name!r} to plant: {', '.join(BUGS)}")
    sys.meta_path.insert(0, Planter(bug))
