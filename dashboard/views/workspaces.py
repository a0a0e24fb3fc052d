"""The workspace of one job: edited with its secrets masked, or revealed to who may see them, on record."""

from __future__ import annotations

import json
import re
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.access import allow
from dashboard.job_forms import ActForm, WorkspaceForm
from dashboard.queries.job import find_job
from dashboard.views.verbs import act, finish
from dashboard.workspace_tree import make_tree
from dbq import operations
from dbq.forms import write_for_editing
from dbq.models import Job
from dbq.operations import Actor
from dbq.verbs import VERBS

PLACE = re.compile(r"line (?P<line>\d+), column (?P<column>\d+)")


@allow(verb="edit_workspace")
@require_http_methods(["GET", "HEAD", "POST"])
def job_workspace(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Edit the workspace of a job that no worker holds."""
    job = find_job(pk)
    if job is None:
        raise Http404(_("There is no such job any more."))
    if request.method != "POST":
        return _show(request, job, WorkspaceForm(job))
    if _is_stale(request, job):
        return _refuse_stale(request, job)
    form = WorkspaceForm(job, request.POST)
    if not form.is_valid():
        return _show(request, job, form)
    return finish(request, act(request, job, "edit_workspace", form), job)


def _is_stale(request: HttpRequest, job: Job) -> bool:
    """Whether the job has changed since the form was made; its placeholders would mean other secrets."""
    return request.POST.get("version") != str(job.version)


def _refuse_stale(request: HttpRequest, job: Job) -> HttpResponse:
    operation = operations.refuse(
        Actor.from_user(request.user),
        "edit_workspace",
        job,
        reason=request.POST.get("reason", ""),
        message="The job has changed since the form was opened.",
    )
    form = WorkspaceForm(job)
    context = {"stale": operation.message, "typed": request.POST.get("text", "")}
    return _show(request, job, form, 409, context)


def _show(
    request: HttpRequest,
    job: Job,
    form: WorkspaceForm,
    status: int = 200,
    more: dict[str, str] | None = None,
) -> HttpResponse:
    context = {
        "job": job,
        "form": form,
        "verb": VERBS["edit_workspace"],
        "obstacle": operations.explain("edit_workspace", job),
        "place": _find_place(form),
        "has_placeholders": write_for_editing(job) != _write(job.workspace),
        **(more or {}),
    }
    return render(request, "dbq/job_workspace_form.html", context, status=status)


def _find_place(form: WorkspaceForm) -> str:
    """The line that an error of JSON is in, up to where it is."""
    match = PLACE.search(" ".join(map(str, form.errors.get("text", ()))))
    if match is None:
        return ""
    line, column = int(match["line"]), int(match["column"])
    lines = (form["text"].value() or "").splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return f"{text[max(0, column - 60) : column]}◂" if text else ""


def _write(workspace: dict) -> str:
    return json.dumps(workspace, indent=2, ensure_ascii=False)


@allow(verb="reveal")
@require_http_methods(["GET", "HEAD", "POST"])
def job_reveal(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show the workspace with its secrets, once, after recording who asked for it."""
    if request.method != "POST":
        # Nothing is revealed by a link.
        return redirect("dbq:job-detail", pk)
    job = find_job(pk)
    if job is None:
        raise Http404(_("There is no such job any more."))
    form = ActForm(job, request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    operation = operations.act(Actor.from_user(request.user), "reveal", job, reason=reason)
    if operation.is_refused:
        return finish(request, operation, job)
    context = {"job": job, "tree": make_tree(job.workspace), "raw": _write(job.workspace)}
    return render(request, "dbq/job_reveal.html", context)
