"""What the API answers about webhooks."""

from typing import Annotated, Literal

from msgspec import Meta

from engine.event_kinds import Count, Id, Moment, Value
from orders.api.answers import Position, Words


class Webhook(Value, frozen=True):
    """A webhook, how far it is delivered, and what came of the last call."""

    webhook_id: Id
    url: Words
    all: Annotated[bool, Meta(description="Whether it gets the events of every account.")]
    state: Annotated[
        Literal["active", "disabled", "stopped", "failed"],
        Meta(
            description="`failed`: it was given up; enable it again. `stopped`: by an operator, who alone enables it."
        ),
    ]
    cursor: Annotated[Position, Meta(description="Everything up to there is delivered.")]
    created_at: Moment
    old_secret_until: Annotated[Moment | None, Meta(description="Until then the secret before signs, too.")]
    failures: Annotated[Count, Meta(description="Calls that failed since the last that did not.")]
    failing_since: Moment | None
    next_try_at: Moment | None
    last_at: Moment | None
    last_status: Annotated[int | None, Meta(description="HTTP status of the last answer.")]
    last_error: Annotated[
        Words | None, Meta(description="What was wrong with the last call, or which operator stopped it and why.")
    ]


class WebhookWithSecret(Webhook, frozen=True):
    """A webhook with its secret, which is shown this once."""

    secret: Annotated[str, Meta(pattern=r"^whsec_[A-Za-z0-9+/]{43}=$")]


class Webhooks(Value, frozen=True):
    """The webhooks of the caller, oldest first."""

    results: tuple[Webhook, ...]


WEBHOOKS = (Webhook, WebhookWithSecret, Webhooks)
