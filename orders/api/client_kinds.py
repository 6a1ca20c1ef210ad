"""Write the client's classes of events from the engine's: `.venv/bin/python -m orders.api.client_kinds`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, inspect

from engine import event_kinds
from engine.event_kinds import DECIMALS, KINDS, Facts, Value
from orders import client

FILE = Path(client.__file__).with_name("event_kinds.py")
DECORATOR = "@dataclass(frozen=True, slots=True, kw_only=True)"
HEAD = '''"""What happens to an order, one frozen class for each kind of event.

Written by `python -m orders.api.client_kinds` from the engine's `event_kinds`: change those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from .event import Event, WaitsFor
from .reading import Value
'''


def written() -> str:
    """Return the client's module."""
    kinds = [one for one in vars(event_kinds).values() if isinstance(one, type) and issubclass(one, Value | Facts)]
    classes = [written_class(one) for one in kinds if one not in (Value, Facts)]
    table = "".join(f'    "{name}": {kind.__name__},\n' for name, kind in KINDS.items())
    return "\n\n".join([HEAD, *classes, f"KINDS: Mapping[str, type[Event]] = {{\n{table}}}\n"])


def written_class(kind: type[Struct]) -> str:
    """Write one class."""
    base = "Event" if issubclass(kind, Facts) else "Value"
    head = f'{DECORATOR}\nclass {kind.__name__}({base}):\n    """{kind.__doc__}"""\n\n'
    return head + "".join(f"    {line}\n" for line in fields(kind))


def fields(kind: type[Struct]) -> Iterator[str]:
    """Yield the lines of a class's fields."""
    if issubclass(kind, Value) and kind.__struct_config__.tag:
        yield "kind: str"
    about: Any = inspect.type_info(kind)
    for one in about.fields:
        default = "" if one.required else f" = {one.default!r}"
        if one.name.endswith("_"):
            default = f' = field(metadata={{"spelled": "{one.encode_name}"}})'
        yield f"{one.name}: {hint(one.type)}{default}"


PLAIN = {inspect.IntType: "int", inspect.BoolType: "bool", inspect.NoneType: "None"}
WORDS = "str"


def hint(kind: inspect.Type) -> str:
    """Write what a value is read as: amounts as decimals, times as times, words as text."""
    found = PLAIN.get(type(kind), WORDS)
    match kind:
        case inspect.Metadata(extra_json_schema={"title": "Conditions"}):
            found = "tuple[WaitsFor, ...]"
        case inspect.Metadata(extra_json_schema={"format": "date-time"}):
            found = "datetime"
        case inspect.Metadata():
            found = hint(kind.type)
        case inspect.StrType() if kind.pattern == DECIMALS:
            found = "Decimal"
        case inspect.UnionType():
            found = " | ".join(map(hint, kind.types))
        case inspect.VarTupleType():
            found = f"tuple[{hint(kind.item_type)}, ...]"
        case inspect.DictType():
            found = f"Mapping[str, {hint(kind.value_type)}]"
        case inspect.StructType():
            found = kind.cls.__name__
    return found


if __name__ == "__main__":
    FILE.write_text(written())
