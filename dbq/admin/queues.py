"""Queues in the admin: those that operators spoke of, and pausing one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dbq import operations
from dbq.admin.forms import PauseForm
from dbq.admin.lists import ClosedAdmin, find_address
from dbq.admin.workers import tell
from dbq.models import Queue
from dbq.operations import Actor


@admin.register(Queue)
class QueueAdmin(ClosedAdmin):
    """A queue that nobody ever paused has no row; "add" pauses any queue by its name."""

    list_display = ("name", "standing", "paused_by", "paused_reason", "paused_until")
    ordering = ("name",)
    fields = ("name", "standing", "paused_at", "paused_by", "paused_reason", "paused_until")
    readonly_fields = ("standing",)
    actions = ("pause", "resume")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "pause_queue")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "pause_queue")

    @admin.display(description=_("state"))
    def standing(self, queue: Queue) -> str:
        if queue.paused_at is None:
            return gettext("Running")
        if queue.paused_until is not None and queue.paused_until <= timezone.now():
            return gettext("Running; its pause is over")
        return gettext("Paused")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        links = {"dashboard": find_address("dbq:queue-list")}
        return super().changelist_view(request, {**(extra_context or {}), "links": links})

    @admin.action(permissions=["pause"], description=_("Pause selected queues"))
    def pause(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = Actor.from_user(request.user)
        for queue in queryset[:100]:
            tell(self, request, operations.act(actor, "pause_queue", queue))

    @admin.action(permissions=["pause"], description=_("Resume selected queues"))
    def resume(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = Actor.from_user(request.user)
        for queue in queryset[:100]:
            tell(self, request, operations.act(actor, "resume_queue", queue))

    # Pausing by name

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            **(extra_context or {}),
            "title": _("Pause a queue"),
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
        }
        return super().add_view(request, form_url, context)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ("name", "reason", "minutes") if obj is None else self.fields
        return ((None, {"fields": fields}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else self.readonly_fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return PauseForm if obj is None else super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        request._dbq_operation = operations.act(  # type: ignore[attr-defined]
            Actor.from_user(request.user),
            "pause_queue",
            obj.name,
            reason=form.cleaned_data["reason"],
            until=form.until,
        )

    def response_add(
        self, request: HttpRequest, obj: Queue, post_url_continue: str | None = None
    ) -> HttpResponse:
        operation = request._dbq_operation  # type: ignore[attr-defined]
        level = messages.WARNING if operation.is_refused else messages.SUCCESS
        self.message_user(request, operation.message, level)
        return HttpResponseRedirect(reverse("admin:dbq_queue_changelist"))
