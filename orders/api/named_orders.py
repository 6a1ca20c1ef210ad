"""Orders by the names their clients gave them."""

import structlog
from django.db.models import F, Q
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import models
from orders.access.callers import Caller
from orders.api import answers, examples
from orders.api.access import caller_of
from orders.api.errors import shown
from orders.api.fields import CLIENT_ORDER_ID
from orders.api.filters import refuse_unknown
from orders.api.refusals import BAD_PARAMETER, NO_ORDER, answer
from orders.api.schema import ETAG, operation
from orders.api.views import no_order, standing
from orders.stores import retired

NAME = OpenApiParameter(
    "client_order_id",
    {"type": "string", "pattern": CLIENT_ORDER_ID},
    OpenApiParameter.PATH,
    description="The `clientOrderId` of an order of yours.",
)

get_order_by_client_id = operation(
    "get_order_by_client_id",
    "Show an order by its clientOrderId",
    {200: answer(answers.Order, "The current state of the order.", {"A limit order that rests": examples.RESTING})},
    *(BAD_PARAMETER, NO_ORDER),
    parameters=[NAME, ETAG],
)


class NamedOrder(APIView):
    """Shows the order that a client order id names."""

    @get_order_by_client_id
    def get(self, request: Request, client_order_id: str) -> Response:
        """Show the order of yours with this `clientOrderId`, however long ago it ended; its ETag is its seq."""
        refuse_unknown(request.query_params, ())
        row = None if "\0" in client_order_id else find(client_order_id, caller_of(request))
        if row is None:
            raise no_order(shown(client_order_id) or "")
        structlog.contextvars.bind_contextvars(order_id=str(row.id))
        return standing(request, row)


def find(name: str, caller: Caller) -> models.Order | None:
    """Return the row of the caller's order of this name.

    If it has none, that of an order older than accounts, if those exist for the caller.
    """
    mine = Q(owner_id=caller.owner)
    owners = mine | Q(owner_id=None) if caller.sees(None) else mine
    own_first = F("owner_id").asc(nulls_last=True)
    hot = models.Order.objects.filter(owners, client_order_id=name).order_by(own_first)[:1]
    # Searched last, so that an order retired between the two queries is found here.
    kept = models.ArchivedOrder.objects.filter(owners, client_order_id=name).order_by(own_first)[:1]
    return next(iter(hot), None) or next((retired.order(one) for one in kept), None)
