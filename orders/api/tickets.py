"""Tickets: how a page elsewhere, which can set no header, opens a socket."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.access import tickets
from orders.access.callers import Scope
from orders.api import schema
from orders.api.access import caller_of
from orders.api.filters import refuse_unknown


class Tickets(APIView):
    """Makes tickets."""

    needs: Mapping[str, Scope | None] = {"POST": None}

    @schema.make_ticket
    def post(self, request: Request) -> Response:
        """Make a ticket that opens one socket as you, within TICKET_S seconds.

        Send it as the first message, `{"ticket": "..."}`, or offer the subprotocols `engine` and `ticket.<ticket>`.
        What can send a header needs none: a socket takes `Authorization` as every request does.
        """
        refuse_unknown(request.query_params, ())
        ends = datetime.now(UTC) + timedelta(seconds=tickets.TICKET_S)
        return Response({"ticket": tickets.issue(caller_of(request)), "expiresAt": ends}, status=201)
