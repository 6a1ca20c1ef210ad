"""Pages of orders by cursor: as quick on the last page as on the first, and steady while orders arrive."""

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from orders.api.errors import Field, Invalid, shown
from orders.api.filters import ACCEPTED
from orders.stores.order_view import uuid_or_none

LIMIT_MAX = 200
CURSOR = "^[A-Za-z0-9+/=]{1,200}$"


class OrderPages(CursorPagination):
    """Newest first; ids sort by time."""

    page_size = 50
    ordering = "-id"
    page_size_query_param = "limit"
    max_page_size = LIMIT_MAX

    def get_paginated_response(self, data: Any) -> Response:
        """Answer a page with its neighbours, as links and as cursors."""
        links = {"next": self.get_next_link(), "previous": self.get_previous_link()}
        cursors = {
            f"{name}Cursor": link and parse_qs(urlsplit(link).query)["cursor"][0] for name, link in links.items()
        }
        return Response({**links, **cursors, "results": data})

    def get_page_size(self, request: Request) -> int:
        """Read `limit`.

        Raises Invalid instead of quietly using another.
        """
        text = request.query_params.get("limit")
        if text is None:
            return self.page_size
        if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= LIMIT_MAX):
            raise refused("limit", text)
        return int(text)

    def decode_cursor(self, request: Request) -> Any:
        """Read `cursor`.

        Raises Invalid.
        """
        text = request.query_params.get("cursor")
        if text is not None and not is_cursor(text):
            raise refused("cursor", text)
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise refused("cursor", text) from None
        if cursor and cursor.position is not None and uuid_or_none(str(cursor.position)) is None:
            raise refused("cursor", text)
        return cursor


def is_cursor(text: str) -> bool:
    """Tell whether a text was made as a cursor is; DRF skips what it cannot read, and so shows the first page."""
    try:
        told = parse_qs(b64decode(text, validate=True).decode(), strict_parsing=True)
    except ValueError:
        return False
    return told.keys() <= {"o", "r", "p"}


def refused(name: str, text: str | None) -> Invalid:
    """Say what is wrong with a paging parameter."""
    return Invalid(f"{name} is not accepted", [Field(name, shown(text), "is not accepted", ACCEPTED[name])])
