"""One job: everything about it on one page, and what an operator can do with it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard import durations, tracebacks
from dashboard.access import allow, is_fragment
from dashboard.addresses import shorten_id, write_job_address
from dashboard.changes import Replay
from dashboard.charts import Chart, stack
from dashboard.job_forms import ActForm, RescheduleForm, ResumeForm
from dashboard.looks import find_look
from dashboard.queries import job as queries
from dashboard.reasons import Surroundings, explain
from dashboard.task_strip import make_strip
from dashboard.timeline import make_timeline
from dashboard.workspace_tree import Tree, make_tree
from dbq import operations
from dbq.masking import mask, mask_text
from dbq.models import Job
from dbq.states import FINISHED, State
from dbq.verbs import VERBS, Verb, describe

JOB_VERBS = ("retry", "resume_from", "requeue", "cancel", "reschedule", "delete")
ICONS = {
    "retry": "retry",
    "resume_from": "resume",
    "requeue": "requeue",
    "cancel": "cancelled",
    "reschedule": "clock",
    "delete": "trash",
}
ADDRESSES = {"resume_from": "resume"}
RAW_MAX = 100_000
SPARK_HEIGHT = 48


@dataclass(frozen=True)
class Act:
    """A verb on this job: what its button says, and beforehand what it will do."""

    verb: Verb
    icon: str
    address: str
    effect: str
    form: ActForm


@dataclass(frozen=True)
class Run:
    """One of the last jobs of the same name: a bar of the chart and a row of its table."""

    short_id: str
    address: str
    state: str
    seconds: float
    duration: str
    # All of it in one line.
    label: str
    is_this: bool


@allow()
@require_safe
def job_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Everything about one job; on a tick of the page's clock nothing, if nothing has changed."""
    job = queries.find_job(pk)
    if job is None:
        raise Http404(_("There is no such job. It may have been deleted, by an operator or a clean-up."))
    mark = _make_mark(job)
    if is_fragment(request) and request.GET.get("seen") == mark and job.state in FINISHED:
        return HttpResponse(status=204)
    context = {"job": job, "here": _write_job_address(request, mark), **_make_detail(request, job)}
    template = "dbq/_job.html" if is_fragment(request) else "dbq/job_detail.html"
    return render(request, template, context)


def _write_job_address(request: HttpRequest, mark: str) -> str:
    """Where the page fetches itself: what is open and searched stays, and what it has seen is said."""
    data = request.GET.copy()
    data["seen"] = mark
    return f"{request.path}?{data.urlencode()}"


def _make_mark(job: Job) -> str:
    """Changes whenever the job does."""
    return f"{job.version}-{job.fence}-{job.state}"


def _make_detail(request: HttpRequest, job: Job) -> dict[str, Any]:
    history = queries.read_history(job)
    replay = Replay(job, history.attempts, is_complete=not history.is_cut)
    failed = queries.find_traceback(job, history.attempts, request.GET.get("attempt", ""))
    return {
        "history": history,
        "failed": failed,
        "traceback": tracebacks.parse(failed.traceback, failed.error_type, failed.error_message)
        if failed
        else None,
        "strip": make_strip(job, history.attempts),
        "reason": explain(job, Surroundings.read_for([job])),
        "events": make_timeline(history.attempts, history.operations, history.items, replay, job.round_fence),
        "acts": _list_acts(request, job),
        "unique_key": mask_text(job.unique_key or ""),
        "job_admin_address": _find_admin_address(job),
        "similar": queries.find_similar_failures(job) if job.state == State.FAILED else None,
        **_make_workspace(request, job),
        **_make_recent(job),
    }


def _find_admin_address(job: Job) -> str:
    """The job's page in Django's admin, if the project has queries."""
    try:
        return reverse("admin:dbq_job_change", args=[job.pk])
    except NoReverseMatch:
        return ""


def _make_workspace(request: HttpRequest, job: Job) -> dict[str, Any]:
    text = json.dumps(job.workspace, ensure_ascii=False, separators=(",", ":"))
    masked = mask(job.workspace)
    raw = json.dumps(masked, ensure_ascii=False, indent=2)
    find = request.GET.get("find", "")[:200]
    tree: Tree = make_tree(masked, find=find, opened=request.GET.get("open", "")[:1000])
    return {
        "tree": tree,
        "find": find,
        "workspace_bytes": len(text.encode()),
        "raw": raw[:RAW_MAX],
        "is_raw_cut": len(raw) > RAW_MAX,
        "has_secrets": masked != job.workspace,
        "can_edit": operations.may(request.user, "edit_workspace")
        and operations.can_act("edit_workspace", job),
        "can_reveal": masked != job.workspace and operations.may(request.user, "reveal"),
    }


def _list_acts(request: HttpRequest, job: Job) -> list[Act]:
    return [
        make_act(job, name)
        for name in JOB_VERBS
        if operations.may(request.user, name) and operations.can_act(name, job)
    ]


def make_act(job: Job, name: str) -> Act:
    forms: dict[str, type[ActForm]] = {"resume_from": ResumeForm, "reschedule": RescheduleForm}
    address = reverse(f"dbq:job-{ADDRESSES.get(name, name)}", args=[job.pk])
    return Act(VERBS[name], ICONS[name], address, describe(name, job), forms.get(name, ActForm)(job))


def _make_recent(job: Job) -> dict[str, Any]:
    recent = queries.find_recent_runs(job.name).value
    if recent.jobs is None:
        return {"recent": recent, "recent_chart": None}
    label = _("%(id)s: %(state)s after %(duration)s")
    runs = [
        _make_run(other, label, is_this=other.pk == job.pk)
        for other in reversed(recent.jobs)
        if other.started and other.finished
    ]
    return {"recent": recent, "recent_runs": runs, "recent_chart": _draw_runs(runs)}


def _make_run(job: Job, label: str, is_this: bool) -> Run:
    assert job.started is not None and job.finished is not None  # noqa: S101
    seconds = (job.finished - job.started).total_seconds()
    short_id, duration = shorten_id(job.pk), durations.describe(seconds)
    return Run(
        short_id=short_id,
        address=write_job_address(job.pk),
        state=job.state,
        seconds=seconds,
        duration=duration,
        label=label % {"id": short_id, "state": find_look(job.state).word, "duration": duration},
        is_this=is_this,
    )


def _draw_runs(runs: list[Run]) -> Chart | None:
    """How long the last runs took, oldest first; by their order of magnitude, so that all can be seen."""
    if len(runs) < 2:
        return None
    rows = [[(run.state.lower(), max(1, _find_magnitude(run.seconds)))] for run in runs]
    return stack(rows, SPARK_HEIGHT, runs)


def _find_magnitude(seconds: float) -> int:
    """A hundred for each order of magnitude, from a millisecond on."""
    return round(100 * math.log10(1 + max(0, seconds * 1000)))
