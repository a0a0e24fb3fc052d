"""Workers: who lives, what each does, and what to do about those that do not."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from dashboard import durations
from dashboard.access import allow, is_fragment
from dashboard.acts import act, find_way_back
from dashboard.queries.workers import WorkerReport, find_unserved, list_workers, measure_clocks
from dashboard.sections import make_section
from dashboard.sheets import show_sheet
from dbq.models import Worker
from dbq.verbs import VERBS


@allow()
@require_safe
def worker_list(request: HttpRequest) -> HttpResponse:
    template = "dbq/_fragments/_workers.html" if is_fragment(request) else "dbq/worker_list.html"
    return render(request, template, _make_context(request.GET.get("queue", "")))


def _make_context(queue_name: str) -> dict[str, Any]:
    """The workers, or those of one queue; what needs an operator is said of all."""
    reports: list[WorkerReport] | None = make_section(list_workers)
    shown = reports
    if queue_name and reports:
        shown = [report for report in reports if queue_name in report.worker.queue_names]
    return {
        "workers": shown,
        "queue_name": queue_name,
        "alive": sum(report.is_alive for report in shown or ()),
        "orphaned": sum(report.held for report in reports or () if not report.is_alive),
        "is_mixed": any(report.is_outdated for report in reports or ()),
        "clock": _describe_clocks(make_section(measure_clocks)),
        "unserved": make_section(find_unserved) or {},
    }


def _describe_clocks(ahead: float | None) -> str:
    """What is wrong with the clocks, in one sentence; empty if nothing is."""
    if ahead is None:
        return ""
    text = (
        _("The clock of this web server is %(duration)s ahead of the database's.")
        if ahead > 0
        else _("The clock of this web server is %(duration)s behind the database's.")
    )
    return text % {"duration": durations.describe(round(abs(ahead)))}


@allow(verb="stop_worker")
@require_http_methods(["GET", "HEAD", "POST"])
def worker_stop(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what stopping means, then ask the worker to."""
    worker = get_object_or_404(Worker, pk=pk)
    if request.method == "POST":
        act(request, "stop_worker", worker, reason=request.POST.get("reason", "").strip())
        return redirect(find_way_back(request, "dbq:worker-list"))
    heading = _("Stop %(worker)s") % {"worker": worker.name}
    return show_sheet(
        request, "_worker_stop", {"heading": heading, "worker": worker, **_place("stop_worker")}
    )


@allow(verb="rescue_workers")
@require_http_methods(["GET", "HEAD", "POST"])
def workers_rescue(request: HttpRequest) -> HttpResponse:
    """Say whose jobs are held by the dead, then give them back to their queues."""
    if request.method == "POST":
        act(request, "rescue_workers", reason=request.POST.get("reason", "").strip())
        return redirect(find_way_back(request, "dbq:worker-list"))
    reports = make_section(list_workers) or []
    dead = [report for report in reports if not report.is_alive and report.held]
    heading = _("Rescue the jobs of dead workers")
    return show_sheet(
        request, "_workers_rescue", {"heading": heading, "dead": dead, **_place("rescue_workers")}
    )


def _place(verb: str) -> dict[str, Any]:
    return {"page": "workers", "back": reverse("dbq:worker-list"), "verb": VERBS[verb]}
