"""Webhooks: made, listed, changed, given a new secret, replayed and deleted; each account has its own."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.access.callers import Forbidden, Scope
from orders.api import operators
from orders.api import webhook_schema as schema
from orders.api.access import caller_of
from orders.api.cursors import resumable
from orders.api.errors import FIELDS_MAX, Field, Invalid, shown
from orders.api.filters import refuse_unknown
from orders.api.refusals import wrong
from orders.models import Webhook, WebhookState
from orders.operations.webhook_calls import NotAllowed, parsed
from orders.stores import webhooks
from orders.stores.order_view import uuid_or_none


class Webhooks(APIView):
    """Lists the caller's webhooks, and makes one."""

    @schema.list_webhooks
    def get(self, request: Request) -> Response:
        """List your webhooks, oldest first."""
        refuse_unknown(request.query_params, ())
        return Response({"results": [described(row) for row in of_caller(request).order_by("created_at", "id")]})

    @schema.make_webhook
    def post(self, request: Request) -> Response:
        """Have the events of your orders sent to an address, from what happens next on.

        The secret that signs them is in this answer and in no other.
        """
        refuse_unknown(request.query_params, ())
        given = read(schema.NewWebhookSerializer, request.data)
        caller = caller_of(request)
        url, every = callable_url(request, given["url"]), given.get("all", False)
        if every:
            caller.require(Scope.ADMIN)
            if caller.key is None:
                raise wrong("all", "true", "needs an API key", schema.ACCEPTED["all"])
        made = webhooks.make(caller.owner, url, all_accounts=every, most=settings.ENGINE_WEBHOOKS_MAX)
        row = row_of(of_caller(request).filter(pk=made.pk), str(made.pk))
        on_record(request, row, "make webhook", f"at {host_of(url)}")
        return Response(with_secret(row), status=201)


class OneWebhook(APIView):
    """Shows, changes and deletes a webhook."""

    needs: Mapping[str, Scope | None] = {"DELETE": Scope.TRADE}

    @schema.get_webhook
    def get(self, request: Request, webhook_id: str) -> Response:
        """Show a webhook: how far it is delivered, and what came of the last call."""
        refuse_unknown(request.query_params, ())
        return Response(described(row_of(one(request, webhook_id), webhook_id)))

    @schema.change_webhook
    def patch(self, request: Request, webhook_id: str) -> Response:
        """Change a webhook's address, disable it, or enable it again, also one that was given up.

        It goes on where it stopped.  One that an operator stopped is left as it is, with 403.
        """
        refuse_unknown(request.query_params, ())
        rows = changeable(request, webhook_id)
        given = read(schema.WebhookChangeSerializer, request.data)
        if not given:
            raise Invalid("the body must be a JSON object with at least one of: url, enabled")
        if "url" in given:
            webhooks.move(rows, callable_url(request, given["url"]))
        if "enabled" in given:
            webhooks.switch(rows, on=given["enabled"])
        row = row_of(rows, webhook_id)
        refuse_stopped(row)
        on_record(request, row, "change webhook", f"{row.state}, at {host_of(row.url)}")
        return Response(described(row))

    @schema.delete_webhook
    def delete(self, request: Request, webhook_id: str) -> Response:
        """Delete a webhook; a call under way may still arrive.  One that an operator stopped is kept, with 403."""
        refuse_unknown(request.query_params, ())
        rows = changeable(request, webhook_id)
        was = row_of(rows, webhook_id)
        webhooks.delete(rows)
        for kept in rows:
            refuse_stopped(kept)
        on_record(request, was, "delete webhook", "deleted")
        return Response(described(was))


class Rotate(APIView):
    """Gives a webhook a new secret."""

    @schema.rotate_webhook
    def post(self, request: Request, webhook_id: str) -> Response:
        """Make a new secret, which is in this answer and in no other.

        For 24 hours the secret before signs beside it.  One that was rotated before that signs no more.
        """
        refuse_unknown(request.query_params, ())
        rows = changeable(request, webhook_id)
        webhooks.rotate(rows)
        row = row_of(rows, webhook_id)
        on_record(request, row, "rotate webhook", "a new secret")
        return Response(with_secret(row))


class Replay(APIView):
    """Sends events again."""

    @schema.replay_webhook
    def post(self, request: Request, webhook_id: str) -> Response:
        """Send again what follows a cursor, with ids of its own; `"0"` is the oldest event that is kept.

        A webhook that has not come as far goes on where it is: nothing is skipped.
        """
        refuse_unknown(request.query_params, ())
        rows = changeable(request, webhook_id)
        given = read(schema.WebhookReplaySerializer, request.data)
        webhooks.replay(rows, resumable(given["after"]))
        row = row_of(rows, webhook_id)
        on_record(request, row, "replay webhook", f"after {row.cursor}")
        return Response(described(row))


def of_caller(request: Request) -> "QuerySet[Webhook]":
    return webhooks.with_old_secret(Webhook.objects.filter(owner=caller_of(request).owner))


def one(request: Request, webhook_id: str) -> "QuerySet[Webhook]":
    """Return the caller's webhook of this id.

    Raises Http404.
    """
    known = uuid_or_none(webhook_id)
    rows = of_caller(request).filter(pk=known) if known else Webhook.objects.none()
    row_of(rows, webhook_id)
    return rows


def changeable(request: Request, webhook_id: str) -> "QuerySet[Webhook]":
    """Return the same if the caller may change it: that takes the scope with which it was made.

    Raises Http404, Forbidden.
    """
    rows = one(request, webhook_id)
    if row_of(rows, webhook_id).all_accounts:
        caller_of(request).require(Scope.ADMIN)
    return rows


def refuse_stopped(row: Webhook) -> None:
    """Raise Forbidden for a webhook that an operator stopped."""
    if row.state == WebhookState.STOPPED:
        raise Forbidden(f"the webhook was {row.last_error}; only an operator enables it again")


def on_record(request: Request, row: Webhook, what: str, outcome: str) -> None:
    """Put on record what was done with a webhook that gets the events of every account."""
    if row.all_accounts:
        operators.record(request, what, row.id, f"{outcome}; it gets the events of every account")


def row_of(rows: "QuerySet[Webhook]", webhook_id: str) -> Webhook:
    """Return the row as it is now.

    Raises Http404, also for one that somebody has just deleted.
    """
    row = rows.first()
    if row is None:
        raise Http404(f"there is no webhook {shown(webhook_id)}")
    return row


def read(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """Read the fields of a request.

    Raises Invalid.
    """
    if not isinstance(data, Mapping):
        raise Invalid("the body must be a JSON object")
    serializer = kind(data=data)
    errors: dict[str, Any] = {} if serializer.is_valid() else dict(serializer.errors)
    names = list(serializer.fields)
    errors |= {name: ["is not a field of this request"] for name in data if name not in names}
    if errors:
        fields = [
            Field(
                shown(name) or "",
                shown(data.get(name)),
                str(told[0]),
                schema.ACCEPTED.get(name, f"one of: {', '.join(names)}"),
            )
            for name, told in list(errors.items())[:FIELDS_MAX]
        ]
        raise Invalid("; ".join(f"{field.field} {field.message}" for field in fields), fields)
    good: dict[str, Any] = serializer.validated_data
    return good


def callable_url(request: Request, url: str) -> str:
    """Return an address if it may be called, as far as that is known without resolving its name.

    Raises Invalid, Forbidden for the host of a webhook of the account's that an operator stopped.
    """
    try:
        found = str(parsed(url))
    except NotAllowed as reason:
        raise wrong("url", shown(url), str(reason), schema.ACCEPTED["url"]) from None
    for row in of_caller(request).filter(state=WebhookState.STOPPED):
        if host_of(row.url) == host_of(found):
            refuse_stopped(row)
    return found


def host_of(url: str) -> str:
    """Return the host's name, without the dot that may end it."""
    return (urlsplit(url).hostname or "").rstrip(".")


def described(row: Any) -> dict[str, Any]:
    """Describe a webhook of `of_caller`; of an old secret only while it signs."""
    waits = row.state == "active" and row.failures
    return {
        "webhookId": str(row.id),
        "url": row.url,
        "all": row.all_accounts,
        "state": row.state,
        "cursor": str(row.cursor),
        "createdAt": row.created_at,
        "oldSecretUntil": row.signs_until,
        "failures": row.failures,
        "failingSince": row.failing_since,
        "nextTryAt": row.next_at if waits else None,
        "lastAt": row.last_at,
        "lastStatus": row.last_status,
        "lastError": row.last_error or None,
    }


def with_secret(row: Webhook) -> dict[str, Any]:
    return {**described(row), "secret": webhooks.shown(row.secret_id)}
