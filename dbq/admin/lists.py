"""Change lists that stay fast at millions of rows, and answer no question about what they hide."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html

COUNT_MAX = 10_000
PER_PAGE = 30
# Within it a date needs no year.
RECENT = timedelta(days=300)


class BoundedPaginator(Paginator):
    """Counts no further than COUNT_MAX, and shows no page behind it."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        # Unordered: to count the first ones a database would sort them all.
        return rows.order_by()[:COUNT_MAX].count()


class FixedChangeList(ChangeList):
    """Rows in the order that an index has them, whatever `o` says in the address."""

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than are counted."""
        return self.result_count >= COUNT_MAX

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[Any]:
        return self.model_admin.get_order(request)  # type: ignore[attr-defined]

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}


class ClosedAdmin(admin.ModelAdmin):
    """What the lists here have in common: read-only, bounded, closed to lookups by address."""

    list_per_page = PER_PAGE
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    sortable_by = ()
    # Also the order of the list; it must have an index.
    ordering = ("-pk",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FixedChangeList

    def get_order(self, request: HttpRequest) -> list[str]:
        """The order of the list, whatever was asked for."""
        return list(self.ordering)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # ?workspace__token__startswith=a would tell what is masked, letter by letter.
        filters: Any = self.list_filter
        return lookup in {declared.parameter_name for declared in filters}

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return to_field == self.opts.pk.name

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Rows are deleted by verbs, which look at the state and leave a record.
        return False


def find_address(name: str, *arguments: Any) -> str:
    """The address of a page of the dashboard, or an empty text if the project has none."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""


def write_moment(moment: datetime | None) -> str:
    """A time in the project's zone, short enough for a column; in full on hover."""
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    is_recent = timezone.now() - moment < RECENT
    short = f"{local:%m-%d %H:%M:%S}" if is_recent else f"{local:%Y-%m-%d}"
    full = f"{local:%Y-%m-%d %H:%M:%S %Z}"
    return format_html('<span class="nowrap" title="{}">{}</span>', full, short)
