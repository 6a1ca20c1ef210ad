"""The shape of the code: sizes of files and functions, no import circle, and one owner for each key of Redis."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT

ROOMS = ("engine", "routing", "orders", "workers", "config", "deploy")
FILE_MAX = 300
TEST_FILE_MAX = 500
FUNCTION_MAX = 40
LONG = {
    "orders/telemetry/metrics.py": "the one list of metrics",
    "config/logs.py configure": "one dictionary, as logging.config takes it",
}
"""Files and functions that may be longer, each with the reason."""


def modules() -> dict[str, Path]:
    """Return the engine's modules by their dotted names; migrations are history."""
    paths = (path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts)
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def place(name: str) -> str:
    return str(MODULES[name].relative_to(ROOT))


def test_no_file_is_long_without_a_reason():
    long = {place(name) for name, path in MODULES.items() if len(path.read_text().splitlines()) > FILE_MAX}
    assert long == {one for one in LONG if " " not in one}


def test_no_file_of_tests_is_long():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert [name for name, number in lines.items() if number > TEST_FILE_MAX] == []


def test_no_function_is_long_without_a_reason():
    long = {
        f"{place(name)} {node.name}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= FUNCTION_MAX
    }
    assert long == {one for one in LONG if " " in one}


def imports(name: str) -> Iterator[str]:
    """Yield the modules that one imports: at its head, in a function, or for its types alone."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {one if one in MODULES else node.module for one in found} & MODULES.keys()


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return what is left when modules that import nothing left are taken away, again and again: circles."""
    left = {name: set(known) for name, known in graph.items()}
    while free := [name for name, known in left.items() if not known]:
        for name in free:
            del left[name]
        for known in left.values():
            known.difference_update(free)
    return sorted(left)


def test_no_modules_import_each_other():
    graph = {name: set(imports(name)) - {name} for name in MODULES}
    # A package's head that names what is in it is no module of its own.
    heads = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    plain = {name: known - heads for name, known in graph.items() if name not in heads}
    assert circle(plain) == []


def test_the_search_for_circles_finds_one():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


KEY = re.compile(r"^\| (`[a-z]+:.*?) \| [a-z ]+ \|", re.MULTILINE)


def test_each_key_of_redis_has_one_owner():
    owners = Counter(
        key
        for tree in TREES.values()
        for cell in KEY.findall(ast.get_docstring(tree) or "")
        for key in re.findall(r"`([^`]+)`", cell)
        if not key.startswith(":")
    )
    assert owners and [key for key, number in owners.items() if number > 1] == []


PRIVATE = ("gate", "gates", "guards", "bell", "pulse", "past", "bodies", "aside", "lines", "seen", "archive", "control")


@pytest.mark.parametrize("word", PRIVATE)
def test_no_module_of_orders_has_a_private_name(word):
    assert [name for name in MODULES if name.startswith("orders.") and name.rpartition(".")[2] == word] == []
