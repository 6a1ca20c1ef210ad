"""What clients wrote down while they traded, and what was done to the engine meanwhile: JSON lines."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from tests.chaos.checker.world import Answer, Json, Told, World

CLIENTS, FAULTS = "clients.jsonl", "faults.jsonl"


def lines(path: Path) -> Iterator[Json]:
    """Yield the lines of a journal; the last one may have been cut off with its writer."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def read(folder: Path, world: World) -> None:
    """Put all that the journals of a run say into a world."""
    for line in lines(folder / CLIENTS):
        TAKEN[line["k"]](world, line)
    world.faults = list(lines(folder / FAULTS)) if (folder / FAULTS).is_file() else []


def answer(verb: str, line: Json) -> Answer:
    """Read a request and what it was answered."""
    return Answer(verb, line["asked"], line["status"], line["body"] or {}, line["from"], line["t"])


def told(world: World, line: Json) -> None:
    """Take a message of a story."""
    world.stories.setdefault((line["follower"], line["order"]), []).append(Told(line["t"], line["message"]))


def followed(world: World, line: Json) -> None:
    """Take that somebody follows an order, whatever he is told of it."""
    world.stories.setdefault((line["follower"], line["order"]), [])


def best(world: World, line: Json) -> None:
    """Take what BEST was."""
    world.best.setdefault(line["pair"], []).append((line["t"], Decimal(line["price"])))


def calm_over(world: World, line: Json) -> None:
    """Take when the calm was over."""
    world.calm_over = line["t"]


TAKEN: dict[str, Callable[[World, Json], None]] = {
    "post": lambda world, line: world.posts.append(answer("POST", line)),
    "delete": lambda world, line: world.deletes.append(answer("DELETE", line)),
    "delete_pair": lambda world, line: world.pair_deletes.append(answer("DELETE pair", line)),
    "patch": lambda world, line: world.patches.append(answer("PATCH", line)),
    "follow": followed,
    "told": told,
    "best": best,
    "order": lambda world, line: world.read_orders.__setitem__(line["order"], line["body"]),
    "events": lambda world, line: world.read_events.__setitem__(line["order"], line["body"]["events"]),
    "calm_over": calm_over,
}
