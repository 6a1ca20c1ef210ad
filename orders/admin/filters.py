"""Filters that know their choices without reading the table."""

import time
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from engine.lifecycle import Status
from orders.models import standing_at
from orders.stores.ids import first_at
from routing.catalogue import catalogue
from routing.venues import VENUES


class ByPair(admin.SimpleListFilter):
    """Orders of one pair of the catalogue."""

    title = parameter_name = "pair"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all pairs, active or not."""
        return [(name, name) for name in sorted(catalogue().pairs)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pair=self.value()) if self.value() else queryset


class ByStatus(admin.SimpleListFilter):
    """Orders by status, as stored in Postgres."""

    title = "status"
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.value) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asked = [status for status in Status if status == self.value()]
        return queryset.filter(standing_at(asked)) if asked else queryset


class ByVenue(admin.SimpleListFilter):
    """Rows of one venue."""

    title = parameter_name = "venue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in VENUES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(venue=self.value()) if self.value() else queryset


class ByAge(admin.SimpleListFilter):
    """Orders created recently."""

    title = parameter_name = "created"
    spans = {"15m": ("Last 15 minutes", 900), "1h": ("Last hour", 3_600), "1d": ("Last day", 86_400)} | {
        "7d": ("Last 7 days", 604_800)
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, text) for name, (text, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in self.spans:
            return queryset
        since_ms = int((time.time() - self.spans[str(self.value())][1]) * 1000)
        return queryset.filter(pk__gte=first_at(since_ms))
