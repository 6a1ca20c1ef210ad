"""Every client's story of an order: complete, gapless, and equal to what can be read afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import FINAL, Json, Told, World, normal


@dataclass
class Story:
    """What a client holds to be an order's events after some messages."""

    events: list[Json] = field(default_factory=list)
    epoch: int = 0
    rewinds: int = 0
    ends: list[Json] = field(default_factory=list)
    """Final events it was told, in turn."""
    wrong: list[tuple[str, str]] = field(default_factory=list)
    """Kinds of violations, each with what happened."""

    @property
    def ended(self) -> bool:
        """Whether the last event is a final one."""
        return bool(self.events) and self.events[-1]["status"] in FINAL

    def take(self, message: Json) -> None:
        """Apply one message as a client is told to."""
        if "rewoundTo" in message:
            self.rewind(message)
        elif "seq" in message:
            self.append(normal(message))
        else:
            self.wrong.append(("told_unknown", f"told {str(message)[:200]}"))

    def rewind(self, message: Json) -> None:
        """Drop what no longer belongs to the order's history."""
        to = int(message["rewoundTo"])
        if not 1 <= to <= len(self.events):
            self.wrong.append(("story_rewind", f"rewound to {to} with {len(self.events)} events known"))
        self.rewinds += 1
        self.events = self.events[:to]
        self.epoch = self.events[-1]["epoch"] if self.events else 0
        if int(message.get("epoch", 0)) < self.epoch:
            self.wrong.append(("story_epoch", f"rewound in epoch {message.get('epoch')} to one of epoch {self.epoch}"))

    def append(self, event: Json) -> None:
        """Take the next event."""
        seq, last = int(event["seq"]), len(self.events)
        if seq <= last:
            differs = "" if self.events[seq - 1] == event else ", and otherwise"
            self.wrong.append(("story_repeat", f"seq {seq} again at {last}{differs}"))
            return
        if self.ended:
            self.wrong.append(("story_after_end", f"seq {seq} {event['status']} after {self.events[-1]['status']}"))
        if seq > last + 1:
            self.wrong.append(("story_gap", f"seq {seq} after {last}"))
        if event["epoch"] < self.epoch:
            self.wrong.append(("story_epoch", f"seq {seq} of epoch {event['epoch']} after epoch {self.epoch}"))
        self.epoch = max(self.epoch, event["epoch"])
        self.events.append(event)
        if event["status"] in FINAL:
            self.ends.append(event)


def of(told: list[Told]) -> Story:
    """Apply all that a client was told."""
    story = Story()
    for one in told:
        story.take(one.message)
    return story


def check(world: World, verdict: Verdict) -> None:
    """Judge every story, then what can be read against the rows."""
    for (follower, order_id), told in world.stories.items():
        story = of(told)
        for kind, says in dict(story.wrong).items():
            verdict.add(kind, order_id, f"{follower}: {says}")
        against_reading(world, follower, order_id, story, verdict)
    readings(world, verdict)


def against_reading(world: World, follower: str, order_id: str, story: Story, verdict: Verdict) -> None:
    """Compare a story with the order's events as REST tells them, or else as the rows have them."""
    row = world.rows.get(order_id)
    if row and row.status in FINAL and not story.ended and not expired_while_read(world, world.events.get(order_id)):
        last = story.events[-1]["status"] if story.events else "nothing"
        verdict.add("story_unended", order_id, f"{follower}: ends with {last}, the order is {row.status}")
        return
    if row and any(end["status"] != row.status for end in story.ends):
        ends = [end["status"] for end in story.ends]
        verdict.add("story_end_overturned", order_id, f"{follower}: was told {ends}, the order is {row.status}")
    events = world.read_events.get(order_id) or world.events.get(order_id, [])
    true = [normal(event) for event in before_reading(world, events)]
    heard = before_reading(world, story.events)
    if true and heard != true:
        kind, says = difference(heard, true)
        verdict.add(kind, order_id, f"{follower}: {says}")


def expired_while_read(world: World, events: Sequence[Json] | None) -> bool:
    """Tell whether an order's time was over while everything was read: some readers came before its end, some after."""
    last = events[-1] if events else {"status": ""}
    return last["status"] == "expired" and datetime.fromisoformat(last["at"]).timestamp() > world.calm_over


def before_reading(world: World, events: Sequence[Json]) -> Sequence[Json]:
    """Leave out an end that not every reader could know."""
    return events[:-1] if expired_while_read(world, events) else events


def difference(story: Sequence[Json], true: Sequence[Json]) -> tuple[str, str]:
    """Say in what two tellings of an order differ first, and how badly."""
    told, known = [[event["status"] for event in events] for events in (story, true)]
    if told != known:
        return "story_differs_events", f"told {told}, true is {known}"
    one, other = next((one, other) for one, other in zip(story, true, strict=True) if one != other)
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    shown = {name: (one.get(name), other.get(name)) for name in names}
    kind = "story_differs_at" if names == ["at"] else "story_differs_facts"
    return kind, f"seq {one['seq']} {one['status']}: {str(shown)[:400]}"


def readings(world: World, verdict: Verdict) -> None:
    """Compare events as REST tells them with their rows."""
    for row in world.rows.values():
        events = world.events.get(row.id, [])
        read = world.read_events.get(row.id)
        known, said = ([*map(normal, before_reading(world, told))] for told in (events, read or []))
        if read is not None and row.status in FINAL and said != known:
            told, held = [[event["status"] for event in known] for known in (read, events)]
            verdict.add("rest_differs_rows", row.id, f"REST tells {told}, the rows hold {held}")
        seqs = [event["seq"] for event in events]
        if row.status in FINAL and (seqs != list(range(1, row.seq + 1)) or events[-1]["status"] != row.status):
            verdict.add("rows_gap", row.id, f"{row.status} at seq {row.seq}, rows {seqs}")
