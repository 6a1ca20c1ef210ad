"""Read-only lists and pages, without row counts, of what only the engine writes."""

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters, ShowFacets
from django.contrib.admin.views.main import PAGE_VAR
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from orders.admin.recorded import Recorded

PAGES_MAX = 200
"""Maximum number of pages; for older rows, a filter or the search is quicker."""


class Pages(ChangeList):  # type: ignore[misc]
    """A list that reads one row more than it shows, to know whether another page follows, and never counts."""

    newer = older = ""
    """URLs of the neighbouring pages; empty when there is none."""

    def get_results(self, request: HttpRequest) -> None:
        """Read this page.

        Raises IncorrectLookupParameters for a page out of range.
        """
        if not 1 <= self.page_num <= PAGES_MAX:
            raise IncorrectLookupParameters(f"page {self.page_num}")
        start = (self.page_num - 1) * self.list_per_page
        rows = list(self.queryset[start : start + self.list_per_page + 1])
        self.result_list = rows[: self.list_per_page]
        self.link_neighbours(more=len(rows) > self.list_per_page)
        # Both counts are the size of the page, so that no template offers to select or show rows that were not read.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all, self.multi_page = False, False

    def link_neighbours(self, *, more: bool) -> None:
        """Set the URLs of the pages before and after."""
        if self.page_num > 1:
            self.newer = self.get_query_string({PAGE_VAR: self.page_num - 1})
        if more and self.page_num < PAGES_MAX:
            self.older = self.get_query_string({PAGE_VAR: self.page_num + 1})


class ReadOnly(Recorded, ModelAdmin):  # type: ignore[misc]
    """A model that can only be viewed; newest first, in pages without counts."""

    show_full_result_count = False
    # Facets would count every choice of every filter.
    show_facets = ShowFacets.NEVER
    ordering = ("-pk",)
    # No other column has an index to sort by.
    sortable_by = ()
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Pages

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
