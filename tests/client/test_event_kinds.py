"""The client's classes of events are those of the engine."""

import pytest

from engine.event_kinds import KINDS, Head
from orders.api import client_kinds, examples
from orders.client import event_kinds
from orders.client.event import Event
from orders.client.events import event_of
from orders.client.reading import slots_of


def test_the_file_is_what_the_engine_s_classes_come_to():
    assert client_kinds.FILE.read_text() == client_kinds.written(), "run: .venv/bin/python -m orders.api.client_kinds"


def test_every_kind_is_known_by_the_name_on_the_wire():
    assert list(event_kinds.KINDS) == list(KINDS)
    assert {slot.spelled for slot in slots_of(Event)} == {*Head.__struct_encode_fields__, "kind"}


@pytest.mark.parametrize("life", examples.LIVES)
def test_every_example_is_read_with_nothing_left_over_at_any_depth(life):
    def leftovers(value):
        for name in value.__dataclass_fields__:
            inner = getattr(value, name)
            for one in inner.values() if name == "amended" else inner if isinstance(inner, tuple) else (inner,):
                if hasattr(one, "__dataclass_fields__"):
                    yield one.facts
                    yield from leftovers(one)

    for data in examples.told(life)["events"]:
        event = event_of(data)
        assert type(event) is event_kinds.KINDS[data["kind"]] and event.kind == data["kind"]
        assert event.facts == {} and [one for one in leftovers(event) if one] == []


def test_an_event_without_a_kind_is_an_event_all_the_same():
    data = {name: value for name, value in examples.told(examples.FILLED)["events"][1].items() if name != "kind"}
    event = event_of(data)
    assert type(event) is Event and event.facts["venue"] == "METEORA"
