"""The events of all of a caller's orders, page by page."""

from urllib.parse import urlencode

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.api import answers, examples
from orders.api.access import caller_of
from orders.api.cursors import POSITION, resumable
from orders.api.errors import shown
from orders.api.filters import refuse_unknown
from orders.api.refusals import answer, refused, wrong
from orders.api.schema import operation
from orders.stores import journal

LIMIT = 200
LIMIT_MAX = 1_000
ACCEPTED = {
    "after": "a cursor that this engine has sent, or 0 for the oldest event that is kept",
    "limit": f"a whole number from 1 to {LIMIT_MAX}",
}
list_events = operation(
    "list_events",
    "List the events of all orders",
    {
        200: answer(
            answers.AllEvents,
            "The next events.",
            {
                "A market order, filled": {
                    "results": examples.told(examples.FILLED)["events"],
                    "cursor": "4711",
                    "next": None,
                }
            },
        )
    },
    refused("A parameter is wrong.", wrong("after", "abc", "is not a cursor of this engine", ACCEPTED["after"])),
    parameters=[
        OpenApiParameter(
            "after", {"type": "string", "pattern": POSITION, "default": "0"}, description=ACCEPTED["after"]
        ),
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT},
            description="About how many events; what became of one order at one time is not cut in two.",
        ),
    ],
)


class Events(APIView):
    """Lists the events of all orders of the caller."""

    @list_events
    def get(self, request: Request) -> Response:
        """List every event of every order of yours past a cursor, in sequence order by order.

        An event is here within a second after it was made.  Some may come again after a cursor: drop those that you
        have, by `orderId`, `epoch` and `seq`.  An event of a later `epoch` takes the place of every event of its order
        from its `seq` on.  The cursor is that of `/ws/orders` with `{"follow": "all"}`, too, which has events at once.
        """
        asked = request.query_params
        refuse_unknown(asked, tuple(ACCEPTED))
        limit, after = limit_of(asked.get("limit")), resumable(asked.get("after", "0"))
        events, position, more = journal.page(caller_of(request).owner, after, limit)
        query = urlencode({"after": position, "limit": limit})
        link = request.build_absolute_uri(f"{request.path}?{query}") if more else None
        return Response({"results": events, "cursor": str(position), "next": link})


def limit_of(text: str | None) -> int:
    """Read how many events are asked for.

    Raises Invalid.
    """
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= LIMIT_MAX):
        raise wrong("limit", shown(text), "is not accepted", ACCEPTED["limit"])
    return int(text)
