"""Change lists that stay fast at millions of rows, and answer no question about what they hide."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext

COUNT_MAX = 10_000
PER_PAGE = 30
# Within it a date needs no year.
RECENT = timedelta(days=300)


class BoundedPaginator(Paginator):
    """Counts no further than COUNT_MAX, and not at all what fits on one page."""

    @cached_property
    def count(self) -> int:
        if len(self._first) <= self.per_page:
            # A filter without an index looked through all that it may; to count would do so again.
            return len(self._first)
        rows: Any = self.object_list
        # Unordered: to count the first ones a database would sort them all.
        return rows.order_by()[:COUNT_MAX].count()

    @cached_property
    def _first(self) -> list[Model]:
        """The rows of the first page, and one more if there is one."""
        return list(self.object_list[: self.per_page + 1])

    def page(self, number: int | str) -> Page:
        if self.validate_number(number) != 1:
            return super().page(number)
        return Page(self._first[: self.per_page], 1, self)


class FixedChangeList(ChangeList):
    """Rows in the order that an index has them, whatever `o` says in the address."""

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than are counted."""
        return self.result_count >= COUNT_MAX

    @property
    def count_max(self) -> str:
        return f"{COUNT_MAX:,}"

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[Any]:
        return self.model_admin.get_order(request)  # type: ignore[attr-defined]

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.multi_page:
            # The paginator has them already; Django would look for them again.
            self.result_list = self.paginator.page(1).object_list

    def url_for_result(self, result: Any) -> str:
        # Keys here are numbers and UUIDs, which an address takes as they are.
        return self._addresses.format(result.pk)

    @cached_property
    def _addresses(self) -> str:
        """The address of any row, looked up once for all of them."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        blank = reverse(name, args=["0"], current_app=self.model_admin.admin_site.name)
        before, _zero, after = blank.rpartition("0")
        return f"{before}{{}}{after}"


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

    def action_checkbox(self, obj: Model) -> Any:
        # As Django's, without the four templates that its widget takes for each.
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">',
            ACTION_CHECKBOX_NAME,
            obj.pk,
            gettext("Select this object for an action - {}").format(obj),
        )

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
