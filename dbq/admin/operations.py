"""Operations in the admin: the record, which nobody changes, and stopping what still runs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dbq import bulk, criteria, operations
from dbq.admin.lists import ClosedAdmin, find_address, write_moment
from dbq.admin.workers import tell
from dbq.exceptions import InvalidCriteria
from dbq.models import Operation
from dbq.operations import Actor
from dbq.verbs import VERBS

ITEMS_SHOWN = 100
TARGET_MAX_LENGTH = 200


class VerbFilter(admin.SimpleListFilter):
    title = _("act")
    parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, verb.label) for name, verb in VERBS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(verb=self.value()) if self.value() in VERBS else queryset


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "result"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Operation.State.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        known = self.value() in Operation.State.values
        return queryset.filter(state=self.value()) if known else queryset


@admin.register(Operation)
class OperationAdmin(ClosedAdmin):
    """Append-only for everybody: there is no form, no delete, and no permission that opens one."""

    list_display = ("act", "state", "who", "when", "target", "figures", "reason")
    list_filter = (StateFilter, VerbFilter)
    fields = (
        "act",
        "target",
        "full_job_id",
        "actor_name",
        "created",
        "reason",
        "state",
        "message",
        "figures",
        "finished",
        "items_shown",
    )
    readonly_fields = ("act", "target", "full_job_id", "figures", "items_shown")
    actions = ("stop",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("job_ids")

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whoever may do one of these things to many jobs may stop it; asked again for each."""
        return any(operations.may(request.user, name) for name, v in VERBS.items() if v.is_bulk)

    @admin.display(description=_("act"))
    def act(self, operation: Operation) -> str:
        verb = VERBS.get(operation.verb)
        return str(verb.label) if verb else operation.verb

    @admin.display(description=_("who"))
    def who(self, operation: Operation) -> str:
        return operation.actor_name

    @admin.display(description=_("when"))
    def when(self, operation: Operation) -> str:
        return write_moment(operation.created)

    @admin.display(description=_("on"))
    def target(self, operation: Operation) -> str:
        if operation.is_bulk:
            return describe_criteria(operation)[:TARGET_MAX_LENGTH]
        options = operation.options
        if operation.job_id:
            return gettext("job %(id)s") % {"id": str(operation.job_id)[-8:]}
        if operation.queue_name:
            return gettext("queue %(name)s") % {"name": operation.queue_name}
        return str(options.get("worker") or options.get("operation") or "–")

    @admin.display(description=_("job"))
    def full_job_id(self, operation: Operation) -> str:
        if operation.job_id is None:
            return "–"
        address = reverse("admin:dbq_job_change", args=[operation.job_id])
        return format_html('<a href="{}">{}</a>', address, operation.job_id)

    @admin.display(description=_("jobs"))
    def figures(self, operation: Operation) -> str:
        if not operation.is_bulk:
            return "–"
        figures = [gettext("%(n)s done") % {"n": f"{operation.done:,}"}]
        if operation.skipped:
            figures.append(gettext("%(n)s skipped") % {"n": f"{operation.skipped:,}"})
        if operation.failed:
            figures.append(gettext("%(n)s failed") % {"n": f"{operation.failed:,}"})
        return ", ".join(figures)

    @admin.display(description=_("what was left as it was"))
    def items_shown(self, operation: Operation) -> str:
        """The jobs that were not acted on, the first of them."""
        items = operation.items.exclude(outcome="DONE").order_by("pk")[:ITEMS_SHOWN]
        rows = ((item.job_id, item.get_outcome_display(), item.reason) for item in items)
        return format_html_join("", "<div>{}: {}. {}</div>", rows) or "–"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        links = {"dashboard": find_address("dbq:operation-list")}
        return super().changelist_view(request, {**(extra_context or {}), "links": links})

    @admin.action(permissions=["stop"], description=_("Stop selected running operations"))
    def stop(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = Actor.from_user(request.user)
        for operation in queryset[:100]:
            if operation.verb in VERBS and operations.permit(request.user, operation.verb, operation):
                tell(self, request, bulk.stop(actor, operation))


def describe_criteria(operation: Operation) -> str:
    try:
        return "; ".join(criteria.describe(operation.criteria)) or gettext("all jobs")
    except InvalidCriteria:
        return str(operation.criteria)[:200]
