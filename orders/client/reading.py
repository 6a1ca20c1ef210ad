"""JSON into frozen values, by the types of their fields."""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .errors import Unreadable

Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Something the engine said; what this client has no field for is in `facts`, all of it as it came in `raw`."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


Kind = TypeVar("Kind", bound=Value)


@dataclass(frozen=True, slots=True)
class Slot:
    """One field: its name here and in JSON, how it is read, and whether it must be there."""

    name: str
    spelled: str
    reader: Reader
    needed: bool


def read(kind: type[Kind], data: Any) -> Kind:
    """Read a JSON object.

    Raises Unreadable for one that lacks a field or has it otherwise.
    """
    if not isinstance(data, Mapping):
        raise Unreadable(f"{data!r:.80} is not {kind.__name__}")
    slots: tuple[Slot, ...] = slots_of(kind)  # type: ignore[arg-type] # mypy doubts that classes can be hashed
    if missing := [slot.spelled for slot in slots if slot.needed and slot.spelled not in data]:
        raise Unreadable(f"{kind.__name__} without {', '.join(missing)}")
    known = {slot.name: slot.reader(data[slot.spelled]) for slot in slots if slot.spelled in data}
    spelled = {slot.spelled for slot in slots}
    return kind(**known, facts={name: data[name] for name in data if name not in spelled}, raw=data)


@cache
def slots_of(kind: Any) -> tuple[Slot, ...]:
    """Tell how each field of a kind is read."""
    hints, own = get_type_hints(kind), {one.name for one in fields(Value)}
    return tuple(
        Slot(
            one.name,
            one.metadata.get("spelled") or camel(one.name),
            reader_of(hints[one.name]),
            one.default is MISSING and one.default_factory is MISSING,
        )
        for one in fields(kind)
        if one.name not in own
    )


def camel(name: str) -> str:
    """Spell a name as the API does."""
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def reader_of(hint: Any) -> Reader:
    """Return what reads a value of this type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return partial(one_of, tuple(map(reader_of, inner)))
    if origin is tuple:
        return partial(several, reader_of(inner[0]))
    if origin is not None and issubclass(origin, Mapping):
        return partial(by_name, reader_of(inner[1]))
    if isinstance(hint, type) and issubclass(hint, Value):
        return partial(read, hint)
    return {Decimal: number, datetime: moment, Any: anything}.get(hint) or partial(exactly, hint)


def one_of(readers: tuple[Reader, ...], data: Any) -> Any:
    """Read by the first reader that can."""
    for reader in readers[:-1]:
        try:
            return reader(data)
        except Unreadable:
            continue
    return readers[-1](data)


def several(reader: Reader, data: Any) -> tuple[Any, ...]:
    """Read a list; a single object stands for a list of one."""
    if isinstance(data, Mapping):
        return (reader(data),)
    return tuple(map(reader, exactly(list, data)))


def by_name(reader: Reader, data: Any) -> dict[str, Any]:
    """Read an object whose names are data."""
    return {name: reader(value) for name, value in exactly(dict, data).items()}


def number(data: Any) -> Decimal:
    """Read a decimal, never by way of a float."""
    try:
        found = Decimal(exactly(str, data))
    except InvalidOperation:
        raise Unreadable(f"{data!r:.80} is not a number") from None
    if not found.is_finite():
        raise Unreadable(f"{data!r:.80} is not a number")
    return found


def moment(data: Any) -> datetime:
    """Read a time, which must have its offset."""
    try:
        found = datetime.fromisoformat(exactly(str, data))
    except ValueError:
        raise Unreadable(f"{data!r:.80} is not a time") from None
    if found.tzinfo is None:
        raise Unreadable(f"{data!r:.80} has no offset")
    return found


def anything(data: Any) -> Any:
    """Take a value as it is."""
    return data


def exactly(kind: type, data: Any) -> Any:
    """Take a value of this type only; true is no number."""
    if kind is NoneType and data is None:
        return None
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise Unreadable(f"{data!r:.80} is not {kind.__name__}")
    return data
