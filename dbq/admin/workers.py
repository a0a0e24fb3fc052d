"""Workers in the admin: who lives, and asking one to stop."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dbq import operations
from dbq.admin.lists import ClosedAdmin, find_address, write_moment
from dbq.models import Worker
from dbq.operations import Actor


@admin.register(Worker)
class WorkerAdmin(ClosedAdmin):
    list_display = (
        "name",
        "life",
        "queues",
        "threads",
        "done",
        "megabytes",
        "version",
        "started_at",
        "beat_at",
    )
    fields = (
        "name",
        "life",
        "host",
        "pid",
        "supervisor_pid",
        "queues",
        "threads",
        "version",
        "started",
        "beat",
        "expires_at",
        "done",
        "megabytes",
        "stop_requested",
    )
    readonly_fields = ("life", "queues", "done", "megabytes")
    actions = ("stop", "rescue")

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "stop_worker")

    @admin.display(description=_("life"))
    def life(self, worker: Worker) -> str:
        if worker.expires_at is None or worker.expires_at < timezone.now():
            return gettext("Dead")
        return gettext("Stopping") if worker.stop_requested else gettext("Alive")

    @admin.display(description=_("queues"))
    def queues(self, worker: Worker) -> str:
        return ", ".join(worker.queue_names)

    @admin.display(description=_("jobs done"))
    def done(self, worker: Worker) -> str:
        return f"{worker.jobs_done:,}"

    @admin.display(description=_("memory"))
    def megabytes(self, worker: Worker) -> str:
        return f"{worker.memory_bytes / 1_000_000:.0f} MB"

    @admin.display(description=_("started"))
    def started_at(self, worker: Worker) -> str:
        return write_moment(worker.started)

    @admin.display(description=_("last sign of life"))
    def beat_at(self, worker: Worker) -> str:
        return write_moment(worker.beat)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        links = {"dashboard": find_address("dbq:worker-list")}
        return super().changelist_view(request, {**(extra_context or {}), "links": links})

    @admin.action(permissions=["steer"], description=_("Ask selected workers to stop"))
    def stop(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = Actor.from_user(request.user)
        for worker in queryset[:100]:
            tell(self, request, operations.act(actor, "stop_worker", worker))

    @admin.action(permissions=["steer"], description=_("Rescue the jobs of all dead workers"))
    def rescue(self, request: HttpRequest, queryset: QuerySet) -> None:
        tell(self, request, operations.act(Actor.from_user(request.user), "rescue_workers"))


def tell(model_admin: admin.ModelAdmin, request: HttpRequest, operation: Any) -> None:
    """Show what came of an act."""
    level = messages.WARNING if operation.is_refused else messages.SUCCESS
    model_admin.message_user(request, operation.message, level)
