"""Venues that hang, lie and answer garbage; a chain that drops, delays, forgets and does not answer."""

import json
from typing import Any

from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.plan.faults import Planned


def tell(ground: Ground) -> None:
    """Tell the sandbox how to misbehave from now on."""
    new = ground.misbehaviour.with_suffix(".new")
    new.write_text(json.dumps(ground.told))
    new.replace(ground.misbehaviour)


def misbehaving(ground: Ground, part: str, how: dict[str, Any]) -> Hit | None:
    """Have one part of the sandbox misbehave for a while."""
    if part in ground.busy:
        return None
    ground.busy.add(part)
    ground.told[part] = how
    tell(ground)

    def behave() -> None:
        ground.told[part] = {}
        tell(ground)
        ground.busy.discard(part)

    return Hit(part, behave, {"how": how})


def venues(ground: Ground, planned: Planned) -> Hit | None:
    """Have one venue misbehave, or both."""
    return misbehaving(ground, "venues", planned.facts["venues"])


def chain(ground: Ground, planned: Planned) -> Hit | None:
    """Have the chain misbehave."""
    return misbehaving(ground, "chain", planned.facts["chain"])
