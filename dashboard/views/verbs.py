"""The verbs on one job. GET says what each will do; POST does it, records it and says what came of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.access import allow
from dashboard.acts import find_way_back
from dashboard.changes import Changes, list_changes
from dashboard.job_forms import ActForm, RescheduleForm, ResumeForm
from dashboard.queries.job import find_job
from dbq import operations
from dbq.exceptions import InvalidJob
from dbq.models import Job, Operation
from dbq.operations import Actor
from dbq.verbs import VERBS, describe

FORMS: dict[str, type[ActForm]] = {"resume_from": ResumeForm, "reschedule": RescheduleForm}


@allow(verb="retry")
@require_http_methods(["GET", "HEAD", "POST"])
def job_retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Set a failed or cancelled job going again at the task that did not end."""
    return _answer(request, pk, "retry")


@allow(verb="requeue")
@require_http_methods(["GET", "HEAD", "POST"])
def job_requeue(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Set a finished job going again from its first task."""
    return _answer(request, pk, "requeue")


@allow(verb="resume_from")
@require_http_methods(["GET", "HEAD", "POST"])
def job_resume(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Set a finished job going again from a chosen task."""
    return _answer(request, pk, "resume_from")


@allow(verb="cancel")
@require_http_methods(["GET", "HEAD", "POST"])
def job_cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Cancel a waiting job, or ask a running one to end."""
    return _answer(request, pk, "cancel")


@allow(verb="reschedule")
@require_http_methods(["GET", "HEAD", "POST"])
def job_reschedule(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Change the priority, queue or time of a waiting job."""
    return _answer(request, pk, "reschedule")


@allow(verb="delete")
@require_http_methods(["GET", "HEAD", "POST"])
def job_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a finished job with its history."""
    return _answer(request, pk, "delete")


def _answer(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    job = find_job(pk)
    form_class = FORMS.get(verb, ActForm)
    if request.method != "POST":
        if job is None:
            raise Http404(_("There is no such job any more."))
        task = request.GET.get("task", "")
        return _ask(request, job, verb, form_class(job, initial={"task": task} if task else {}))
    if job is None:
        # Recorded too, and explained by who deleted it.
        return finish(request, operations.act(Actor.from_user(request.user), verb, pk), None)
    form = form_class(job, request.POST)
    if not form.is_valid():
        return _ask(request, job, verb, form)
    return finish(request, act(request, job, verb, form), job)


def act(request: HttpRequest, job: Job, verb: str, form: ActForm) -> Operation:
    """Do what a valid form asks for."""
    return operations.act(
        Actor.from_user(request.user),
        verb,
        job,
        reason=form.cleaned_data["reason"],
        version=form.cleaned_data["version"],
        **form.get_options(),
    )


def finish(request: HttpRequest, operation: Operation, job: Job | None) -> HttpResponseRedirect:
    """Say what came of it, where the operator came from."""
    if operation.is_refused:
        text = _("Nothing was done. %(message)s") % {"message": operation.message}
        messages.warning(request, text)
    else:
        past = VERBS[operation.verb].past
        messages.success(request, f"{past}: {job.name if job else ''}. {operation.message}")
    is_gone = job is None or (operation.verb == "delete" and not operation.is_refused)
    home = reverse("dbq:job-list") if is_gone or job is None else reverse("dbq:job-detail", args=[job.pk])
    return HttpResponseRedirect(find_way_back(request, home))


# What will happen


def _ask(request: HttpRequest, job: Job, verb: str, form: ActForm) -> HttpResponse:
    context: dict[str, Any] = {
        "job": job,
        "verb": VERBS[verb],
        "form": form,
        "effect": describe(verb, job),
        "obstacle": operations.explain(verb, job),
        "back": find_way_back(request, reverse("dbq:job-detail", args=[job.pk])),
    }
    if verb == "resume_from":
        context |= _preview_resume(job, form)
    return render(request, "dbq/job_act.html", context)


def _preview_resume(job: Job, form: ActForm) -> dict[str, Any]:
    """For the chosen task: which tasks will run, and how the workspace will differ from now."""
    task = form["task"].value() or ""
    options = [_make_option(job, path) for path in (job.definition.tasks if job.definition else ())]
    chosen = next((option for option in options if option["task"] == task), None)
    return {"options": options, "chosen": chosen}


def _make_option(job: Job, task: str) -> dict[str, Any]:
    try:
        before = job.workspace_to_resume(task)
    except InvalidJob as error:
        return {"task": task, "effect": "", "obstacle": str(error), "changes": Changes()}
    return {
        "task": task,
        "effect": describe("resume_from", job, task),
        "obstacle": "",
        "changes": list_changes(job.workspace, before),
    }
