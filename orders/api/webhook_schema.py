"""The OpenAPI description of webhooks, and what their requests may hold."""

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import serializers

from orders.api import examples
from orders.api.cursors import POSITION
from orders.api.fields import Flag, Text
from orders.api.refusals import BAD_PARAMETER, answer, refused, wrong
from orders.api.schema import operation
from orders.api.webhook_answers import Webhook, Webhooks, WebhookWithSecret
from orders.operations.webhook_calls import NOT_PUBLIC, URL_MAX
from orders.stores.webhooks import TooManyWebhooks

URL = r"^https?://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[1-9][0-9]{0,4})?([/?][!-~]*)?$"
AFTER = "a cursor that this engine has sent, or 0 for the oldest event that is kept"
ACCEPTED = {
    "url": f"an https:// address of at most {URL_MAX} characters, public, without user, password and fragment",
    "all": "true or false, whether it gets the events of every account: only with an API key of scope admin; "
    "false if omitted",
    "enabled": "true or false",
    "after": AFTER,
}
WEBHOOK_ID = OpenApiParameter(
    "webhook_id",
    {"type": "string", "format": "uuid"},
    OpenApiParameter.PATH,
    description="The `webhookId` of a webhook.",
)


@extend_schema_field({"type": "string", "pattern": URL, "maxLength": URL_MAX})
class Url(Text):
    """An address to be called."""


@extend_schema_field({"type": "string", "pattern": POSITION})
class Position(Text):
    """A cursor."""


class NewWebhookSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Where events are to be sent."""

    url = Url(help_text=ACCEPTED["url"])
    all = Flag(help_text=ACCEPTED["all"], required=False)


class WebhookChangeSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What is to be changed of a webhook; at least one field."""

    url = Url(help_text=ACCEPTED["url"], required=False)
    enabled = Flag(help_text=ACCEPTED["enabled"], required=False)


class WebhookReplaySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """From where events are to be sent again."""

    after = Position(help_text=ACCEPTED["after"])


EXAMPLE = {
    "webhookId": "01a20491-4561-78b3-ab49-e00288d86960",
    "url": "https://bot.example.com/events",
    "all": False,
    "state": "active",
    "cursor": "4711",
    "createdAt": examples.AT,
    "oldSecretUntil": None,
    "failures": 0,
    "failingSince": None,
    "nextTryAt": None,
    "lastAt": examples.AT,
    "lastStatus": 204,
    "lastError": None,
}
SECRET = {**EXAMPLE, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA="}
WRONG_URL = wrong("url", "https://10.0.0.1/", NOT_PUBLIC, ACCEPTED["url"])
INVALID = refused("The request is wrong; nothing was done.", WRONG_URL)
NO_WEBHOOK = refused("There is no such webhook.", Http404(f"there is no webhook {EXAMPLE['webhookId']}"))
FULL = refused(
    "The account has as many webhooks as it may.", TooManyWebhooks("this account has 10 webhooks, of at most 10")
)

list_webhooks = operation(
    "list_webhooks",
    "List webhooks",
    {200: answer(Webhooks, "Your webhooks.", {"One": {"results": [EXAMPLE]}})},
    BAD_PARAMETER,
)
make_webhook = operation(
    "make_webhook",
    "Make a webhook",
    {201: answer(WebhookWithSecret, "The webhook, with its secret.", {"A webhook": SECRET})},
    *(INVALID, FULL),
    request=NewWebhookSerializer,
    examples={"Events of your orders": {"url": EXAMPLE["url"]}},
)
get_webhook = operation(
    "get_webhook",
    "Show a webhook",
    {200: answer(Webhook, "The webhook.", {"A webhook": EXAMPLE})},
    *(BAD_PARAMETER, NO_WEBHOOK),
    parameters=[WEBHOOK_ID],
)
change_webhook = operation(
    "change_webhook",
    "Change a webhook",
    {200: answer(Webhook, "The webhook now.", {"It is enabled": EXAMPLE})},
    *(INVALID, NO_WEBHOOK),
    request=WebhookChangeSerializer,
    examples={"Enable it again": {"enabled": True}},
    parameters=[WEBHOOK_ID],
)
delete_webhook = operation(
    "delete_webhook",
    "Delete a webhook",
    {200: answer(Webhook, "The webhook as it was.", {"A webhook": EXAMPLE})},
    *(BAD_PARAMETER, NO_WEBHOOK),
    parameters=[WEBHOOK_ID],
)
rotate_webhook = operation(
    "rotate_webhook",
    "Give a webhook a new secret",
    {200: answer(WebhookWithSecret, "The webhook, with its new secret.", {"A webhook": SECRET})},
    *(BAD_PARAMETER, NO_WEBHOOK),
    request=None,
    parameters=[WEBHOOK_ID],
)
replay_webhook = operation(
    "replay_webhook",
    "Send events again",
    {200: answer(Webhook, "The webhook now.", {"A webhook": {**EXAMPLE, "cursor": "1200"}})},
    refused("The request is wrong; nothing was done.", wrong("after", "abc", "is not a cursor of this engine", AFTER)),
    NO_WEBHOOK,
    request=WebhookReplaySerializer,
    examples={"From a cursor on": {"after": "1200"}},
    parameters=[WEBHOOK_ID],
)
