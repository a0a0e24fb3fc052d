"""Jobs in the admin: the list with its actions, a job with its attempts, one page for each verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from dbq import bulk, masking, operations
from dbq.admin.filters import (
    FINISHED_STANDINGS,
    AgeFilter,
    CriteriaFilter,
    NameFilter,
    QueueFilter,
    StandingFilter,
)
from dbq.admin.forms import ACT_FORMS, ActForm, CleanupForm, NewJobForm
from dbq.admin.lists import ClosedAdmin, FixedChangeList, find_address, write_moment
from dbq.bulk import Proposal
from dbq.criteria import Criteria
from dbq.exceptions import InvalidCriteria
from dbq.limits import TookTooLong, time_limit
from dbq.models import Attempt, Job, Operation
from dbq.operations import Actor
from dbq.states import Lane, State
from dbq.verbs import VERBS, describe, get_short_name

# Jobs that a filter without an index of its own looks through, the first of the list.
WINDOW = 10_000
ATTEMPTS_MAX = 200
COUNT_SECONDS = 1.0
# As an index has them; by id a planner would rather walk all ids than sort the few jobs of these lanes.
ORDERS = {
    "waiting": ["queue_name", "-priority", "pk"],
    "scheduled": ["run_after", "pk"],
    "processing": ["-started", "-pk"],
}
JOB_VERBS = (
    "retry",
    "requeue",
    "resume_from",
    "cancel",
    "reschedule",
    "edit_workspace",
    "delete",
)
BULK_VERBS = ("retry", "requeue", "cancel", "delete")
HEAVY = ("workspace", "initial_workspace", "error_message", "progress")


class AttemptInline(admin.TabularInline):
    """The history of a job: what ran, how it ended, what it raised."""

    model = Attempt
    extra = 0
    max_num = 0
    can_delete = False
    verbose_name_plural = _("attempts")
    fields = ("short_task", "number", "outcome", "worker_name", "started", "finished", "error")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """The last ones of this job; a job that is tried for ever has too many for a page."""
        attempts = super().get_queryset(request)
        job_id = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        last = attempts.filter(job_id=_read_id(job_id)).order_by("-pk")
        ids = list(last.values_list("pk", flat=True)[:ATTEMPTS_MAX])
        return attempts.filter(pk__in=ids).defer("changes", "discarded_changes").order_by("pk")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Whoever may see a job may see its history.
        return request.user.has_perm("dbq.view_job")

    @admin.display(description=_("task"))
    def short_task(self, attempt: Attempt) -> str:
        return get_short_name(attempt.task)

    @admin.display(description=_("error"), empty_value="")
    def error(self, attempt: Attempt) -> str:
        if not attempt.error_type:
            return masking.mask_text(attempt.error_message)
        message = f"{attempt.error_type}: {masking.mask_text(attempt.error_message)}"
        if not attempt.traceback:
            return message
        traceback = masking.mask_traceback(attempt.traceback)
        return format_html(
            "{}<details><summary>{}</summary><pre>{}</pre></details>",
            message,
            gettext("Traceback"),
            traceback,
        )


class JobChangeList(FixedChangeList):
    """Jobs along an index; filters that have none look through the first WINDOW jobs of the list."""

    is_windowed = False

    @property
    def window(self) -> str:
        return f"{WINDOW:,}"

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet:
        jobs = super().get_queryset(request, *args, **kwargs)
        if self._needs_window():
            jobs = self._cut(request, jobs)
        return jobs

    def _needs_window(self) -> bool:
        asked = [spec for spec in self.filter_specs if spec.get_criteria()]  # type: ignore[attr-defined]
        names = {spec.parameter_name for spec in asked}  # type: ignore[attr-defined]
        return bool(names & {"queue", "name"} or self._searched_name)

    @property
    def _searched_name(self) -> str:
        return "" if _read_id(self.query) else self.query.strip()

    def _cut(self, request: HttpRequest, jobs: QuerySet) -> QuerySet:
        order = self.get_ordering(request, jobs)
        walked = self.root_queryset
        for spec in self.filter_specs:
            if isinstance(spec, StandingFilter | AgeFilter):
                walked = spec.queryset(request, walked)
        columns = [key.removeprefix("-") for key in order]
        edge = walked.order_by(*order).values_list(*columns)[WINDOW : WINDOW + 1].first()
        self.is_windowed = edge is not None
        return jobs if edge is None else jobs.filter(_before(order, edge))

    def get_criteria(self) -> Criteria:
        """What the filters and the search mean, for an act on all that match."""
        criteria: Criteria = []
        for spec in self.filter_specs:
            if isinstance(spec, CriteriaFilter):
                criteria += spec.get_criteria()
        if job_id := _read_id(self.query):
            criteria.append(["id", "exact", job_id])
        elif self._searched_name:
            criteria.append(["name", "exact", self._searched_name])
        return criteria


@admin.register(Job)
class JobAdmin(ClosedAdmin):
    """What an operator may see and do here; everything that moves a job goes through operations."""

    list_display = (
        "name",
        "short_id",
        "standing",
        "queue",
        "short_task",
        "error_type",
        "created_at",
        "finished_at",
    )
    list_filter = (StandingFilter, QueueFilter, NameFilter, AgeFilter)
    search_fields = ("id",)
    search_help_text = _("A job's whole id, or a job name.")
    actions = ("act_retry", "act_requeue", "act_cancel", "act_delete")
    inlines = (AttemptInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    "name",
                    "standing",
                    "acts",
                    "queue_name",
                    "priority",
                    "unique_key",
                )
            },
        ),
        (_("Progress"), {"fields": ("next_task", "attempt", "crash_count", "worker", "progress")}),
        (_("Times"), {"fields": ("created", "enqueued", "run_after", "started", "finished")}),
        (_("Last error"), {"fields": ("error_type", "masked_error", "fingerprint")}),
        (_("Workspace"), {"fields": ("masked_workspace", "masked_initial_workspace")}),
        (
            _("For the engine"),
            {"classes": ("collapse",), "fields": ("lane", "fence", "version", "definition_hash")},
        ),
    )
    readonly_fields = (
        "standing",
        "acts",
        "masked_error",
        "masked_workspace",
        "masked_initial_workspace",
    )
    new_fieldsets = (
        (None, {"fields": ("name", "workspace")}),
        (_("Place and time"), {"fields": ("queue_name", "priority", "run_after", "unique_key")}),
    )

    # Who may what

    def has_add_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "create")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "retry")

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "requeue")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "cancel")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return operations.may(request.user, "delete")

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FixedChangeList]:
        return JobChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        jobs = super().get_queryset(request)
        is_list = request.resolver_match and request.resolver_match.url_name == "dbq_job_changelist"
        return jobs.defer(*HEAVY) if is_list else jobs

    def get_order(self, request: HttpRequest) -> list[str]:
        """The order in which an index finds the rows of a state; newest first otherwise."""
        stands = request.GET.get("stands")
        if stands in FINISHED_STANDINGS:
            return ["-finished", "-pk"]
        return ORDERS.get(stands, ["-pk"])  # type: ignore[arg-type]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        job_id = _read_id(term)
        return queryset.filter(pk=job_id) if job_id else queryset.filter(name=term[:100]), False

    @admin.display(description=_("id"))
    def short_id(self, job: Job) -> str:
        return str(job.pk)[-8:]

    @admin.display(description=_("queue"))
    def queue(self, job: Job) -> str:
        return job.queue_name

    @admin.display(description=_("created"))
    def created_at(self, job: Job) -> str:
        return write_moment(job.created)

    @admin.display(description=_("finished"))
    def finished_at(self, job: Job) -> str:
        return write_moment(job.finished)

    @admin.display(description=_("state"))
    def standing(self, job: Job) -> str:
        label = State(job.state).label
        if job.lane == Lane.WAITING:
            return gettext("%(state)s, scheduled") % {"state": label}
        if job.state == State.PROCESSING and job.cancel_requested:
            return gettext("%(state)s, asked to end") % {"state": label}
        return label

    @admin.display(description=_("task"))
    def short_task(self, job: Job) -> str:
        return get_short_name(job.next_task)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        verb = request.POST.get("action", "").removeprefix("act_")
        if request.method == "POST" and verb in BULK_VERBS:
            # The choice of an action that is not offered would be ignored; it is refused, on record.
            _require(request, verb)
        links = {
            "dashboard": _find_dashboard(request, "dbq:job-list"),
            "cleanup": reverse("admin:dbq_job_cleanup") if operations.may(request.user, "cleanup") else "",
        }
        return super().changelist_view(request, {**(extra_context or {}), "links": links})

    # One job

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.new_fieldsets if obj is None else self.fieldsets

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj is not None else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else self.readonly_fields

    @admin.display(description=_("message"))
    def masked_error(self, job: Job) -> str:
        return masking.mask_text(job.error_message)

    @admin.display(description=_("workspace"))
    def masked_workspace(self, job: Job) -> str:
        return _show_json(job.workspace)

    @admin.display(description=_("as created"))
    def masked_initial_workspace(self, job: Job) -> str:
        if job.initial_workspace is None:
            return gettext("The same: nothing has changed it.")
        return _show_json(job.initial_workspace)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST":
            # Nothing of a job is changed by a form of columns.
            raise PermissionDenied
        job_id = _read_id(object_id)
        links = {"dashboard": _find_dashboard(request, "dbq:job-detail", job_id) if job_id else ""}
        context = {**(extra_context or {}), "links": links}
        return super().change_view(request, object_id, form_url, context)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        job = super().get_object(request, *args, **kwargs)
        if job is not None:
            job._acts = self._list_acts(request, job)
        return job

    def _list_acts(self, request: HttpRequest, job: Job) -> list[tuple[str, Any, str]]:
        """What makes sense on this job now and this account may do: address, label, effect."""
        return [
            (
                reverse("admin:dbq_job_verb", args=[job.pk, verb]),
                VERBS[verb].label,
                _describe(verb, job),
            )
            for verb in JOB_VERBS
            if operations.may(request.user, verb) and operations.can_act(verb, job)
        ]

    @admin.display(description=_("what can be done"))
    def acts(self, job: Job) -> str:
        acts = format_html_join("", '<div><a href="{}">{}</a></div><div>{}</div>', job._acts)  # type: ignore[attr-defined]
        return acts or gettext("Nothing by this account, now.")

    # A new job

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        refusal = getattr(request, "_dbq_refusal", "")
        return type("NewJobForm", (NewJobForm,), {"refusal": refusal})

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            with transaction.atomic():
                return super().add_view(request, form_url, extra_context)
        except CreationRefused as refusal:
            # Once more, with what was typed and the reason over it.
            request._dbq_refusal = str(refusal)  # type: ignore[attr-defined]
            return super().add_view(request, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Job, form: Any, change: bool) -> None:
        if change:
            raise PermissionDenied
        fields = {name: form.cleaned_data[name] for name in NewJobForm.Meta.fields}
        try:
            job = operations.create_job(Actor.from_user(request.user), **fields)
        except Exception as error:  # a creation hook may raise anything
            raise CreationRefused(f"{type(error).__name__}: {error}") from error
        obj.pk = job.pk

    # Verbs

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("act/", wrap(self.bulk_view), name="dbq_job_act"),
            path("cleanup/", wrap(self.cleanup_view), name="dbq_job_cleanup"),
            path("<uuid:pk>/act/<slug:verb>/", wrap(self.act_view), name="dbq_job_verb"),
            *super().get_urls(),
        ]

    @admin.action(permissions=["retry"], description=_("Retry selected jobs"))
    def act_retry(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self._ask(request, "retry", queryset)

    @admin.action(permissions=["requeue"], description=_("Requeue selected jobs"))
    def act_requeue(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self._ask(request, "requeue", queryset)

    @admin.action(permissions=["cancel"], description=_("Cancel selected jobs"))
    def act_cancel(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self._ask(request, "cancel", queryset)

    @admin.action(permissions=["erase"], description=_("Delete selected jobs"))
    def act_delete(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self._ask(request, "delete", queryset)

    def _ask(self, request: HttpRequest, verb: str, queryset: QuerySet) -> HttpResponse | None:
        """Show what an action will do; `queryset` is what the admin made of the ticks."""
        if request.POST.get("select_across") == "1":
            changes: Any = self.get_changelist_instance(request)
            proposal = bulk.propose(verb, changes.get_criteria(), count=False)
        else:
            ids = list(queryset.order_by().values_list("pk", flat=True)[: bulk.FREEZE_MAX])
            proposal = bulk.propose(verb, ids=ids, count=False)
        return self._show_proposal(request, proposal)

    def _show_proposal(self, request: HttpRequest, proposal: Proposal, **more: Any) -> HttpResponse:
        counted = _look(proposal.count) or proposal
        verb = VERBS[proposal.verb]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": verb.label,
            "verb": verb,
            "proposal": counted,
            "matched": "" if counted.matched is None else f"{counted.matched:,}",
            "states": [
                (State(s).label, f"{n:,}", s in counted.unsuitable) for s, n in counted.states.items()
            ],
            "sample": _look(counted.find_sample),
            "packed": counted.pack(Actor.from_user(request.user)),
            "needs_workers": counted.matched is None or counted.matched > bulk.CHUNK,
            "is_served": bulk.is_served(),
            **more,
        }
        return TemplateResponse(request, "admin/dbq/job/act_on_many.html", context)

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Do what a proposal showed."""
        back = HttpResponseRedirect(reverse("admin:dbq_job_changelist"))
        actor = Actor.from_user(request.user)
        try:
            proposal = Proposal.unpack(request.POST.get("proposal", ""), actor)
        except InvalidCriteria as problem:
            self.message_user(request, str(problem), messages.ERROR)
            return back
        _require(request, proposal.verb)
        operation = bulk.start(actor, proposal, reason=request.POST.get("reason", "").strip())
        self._log_items(request, operation)
        self.message_user(request, *_tell(operation))
        return back

    def _log_items(self, request: HttpRequest, operation: Operation) -> None:
        """History entries for what was done at once; what workers do later is in the operation."""
        done = operation.items.filter(outcome="DONE").values_list("job_id", flat=True)
        ids = list(done[: bulk.CHUNK])
        names = dict(Job.objects.filter(pk__in=ids).values_list("pk", "name"))
        jobs = [Job(pk=pk, name=names.get(pk, "job")) for pk in ids]
        flag = DELETION if operation.verb == "delete" else CHANGE
        message = f"{VERBS[operation.verb].past} ({gettext('operation')} {operation.pk})."
        _log(request, jobs, flag, message)

    def act_view(self, request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
        """Say what a verb will do to one job, ask for what it needs, and do it."""
        if verb not in JOB_VERBS or not self.has_view_permission(request):
            raise Http404
        job = Job.objects.filter(pk=pk).first()
        if job is None:
            raise Http404
        _require(request, verb, job)
        form = ACT_FORMS.get(verb, ActForm)(job, request.POST or None)
        if request.method == "POST" and form.is_valid():
            return self._act(request, verb, job, form)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": VERBS[verb].label,
            "verb": VERBS[verb],
            "job": job,
            "form": form,
            "media": self.media + form.media,
            "effect": _describe(verb, job),
            "obstacle": operations.explain(verb, job),
        }
        return TemplateResponse(request, "admin/dbq/job/act_on_one.html", context)

    def _act(self, request: HttpRequest, verb: str, job: Job, form: ActForm) -> HttpResponse:
        operation = operations.act(
            Actor.from_user(request.user),
            verb,
            job,
            reason=form.cleaned_data["reason"],
            version=form.cleaned_data["version"],
            **form.get_options(),
        )
        level = messages.WARNING if operation.is_refused else messages.SUCCESS
        self.message_user(request, operation.message, level)
        is_gone = verb == "delete" and not operation.is_refused
        if not operation.is_refused:
            flag = DELETION if is_gone else CHANGE
            _log(request, [job], flag, f"{VERBS[verb].past}. {operation.message}")
        if is_gone:
            return HttpResponseRedirect(reverse("admin:dbq_job_changelist"))
        return HttpResponseRedirect(reverse("admin:dbq_job_change", args=[job.pk]))

    def cleanup_view(self, request: HttpRequest) -> HttpResponse:
        """Ask how old; show what would be deleted; the confirmation goes where all bulk acts go."""
        _require(request, "cleanup")
        form = CleanupForm(request.GET if "hours" in request.GET else None)
        if form.is_valid():
            return self._show_cleanup(request, form)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Clean up old jobs"),
            "verb": VERBS["cleanup"],
            "form": form,
            "last": Operation.objects.filter(verb="cleanup").order_by("-pk").first(),
        }
        return TemplateResponse(request, "admin/dbq/job/cleanup.html", context)

    def _show_cleanup(self, request: HttpRequest, form: CleanupForm) -> HttpResponse:
        queue_name = form.cleaned_data["queue_name"]
        proposal = bulk.propose_cleanup(
            form.cleaned_data["hours"],
            [queue_name] if queue_name else [],
            form.get_states(),
            count=False,
        )
        summary = _look(lambda: bulk.summarize(proposal))
        groups = (
            [(name, State(state).label, f"{n:,}") for name, state, n in summary.groups] if summary else []
        )
        return self._show_proposal(request, proposal, summary=summary, groups=groups)


class CreationRefused(Exception):
    """What Job.objects.create, or a creation hook, raised."""


def _require(request: HttpRequest, verb: str, job: Job | None = None) -> None:
    """Refuse on record what the account may not do; looking at a page leaves no record."""
    if request.method == "POST":
        allowed = operations.permit(request.user, verb, job)
    else:
        allowed = operations.may(request.user, verb)
    if not allowed:
        raise PermissionDenied


def _describe(verb: str, job: Job) -> str:
    """What a verb will do to this job, before the task that it resumes from is chosen."""
    return str(VERBS[verb].effect) if verb == "resume_from" else describe(verb, job)


def _look(make: Callable[[], Any]) -> Any:
    """What a look at many jobs finds within its time; None otherwise."""
    try:
        with time_limit(COUNT_SECONDS):
            return make()
    except TookTooLong:
        return None


def _tell(operation: Operation) -> tuple[str, int]:
    """What became of a confirmed act, for a message."""
    if operation.is_running:
        return gettext("Confirmed; the workers do it. Operation %(pk)d shows how far it is.") % {
            "pk": operation.pk
        }, messages.INFO
    sentence = ngettext("%(past)s %(done)d job.", "%(past)s %(done)d jobs.", operation.done) % {
        "past": VERBS[operation.verb].past,
        "done": operation.done,
    }
    left = operation.items.exclude(outcome="DONE")
    reasons = list(left.order_by().values_list("reason", flat=True).distinct()[:5])
    if operation.skipped:
        sentence += " " + gettext("Skipped %(n)d: %(why)s") % {
            "n": operation.skipped,
            "why": " ".join(reasons),
        }
    if operation.failed:
        sentence += " " + gettext("Failed: %(n)d.") % {"n": operation.failed}
    is_clean = not operation.skipped and not operation.failed
    return sentence, messages.SUCCESS if is_clean else messages.WARNING


def _log(request: HttpRequest, jobs: list[Job], flag: int, message: str) -> None:
    """Write the history that the admin shows."""
    assert request.user.pk is not None  # noqa: S101
    LogEntry.objects.log_actions(request.user.pk, jobs, flag, message)


def _show_json(value: Any) -> str:
    text = json.dumps(masking.mask(value), indent=2, ensure_ascii=False)
    return format_html("<pre>{}</pre>", text)


def _find_dashboard(request: HttpRequest, name: str, *arguments: Any) -> str:
    return find_address(name, *arguments) if request.user.has_perm("dbq.view_job") else ""


def _before(order: list[str], edge: tuple) -> Q:
    """What stands before a place in an order. The first condition alone gives the database a range."""
    within, same = Q(), Q()
    for key, value in zip(order, edge, strict=True):
        column, nearer = key.removeprefix("-"), "gt" if key.startswith("-") else "lt"
        within |= same & Q(**{f"{column}__{nearer}": value})
        same &= Q(**{column: value})
    first, value = order[0].removeprefix("-"), edge[0]
    return Q(**{f"{first}__{'gte' if order[0].startswith('-') else 'lte'}": value}) & within


def _read_id(text: Any) -> UUID | None:
    try:
        return UUID(str(text).strip())
    except ValueError:
        return None
