"""Queues: what waits in each, and stopping and starting them."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard.access import allow, is_fragment
from dashboard.acts import act, find_way_back
from dashboard.forms import PauseForm
from dashboard.preferences import find_patience
from dashboard.queries.queues import QueuesReport, report_queues
from dashboard.sections import take_section
from dashboard.sheets import show_sheet
from dashboard.views.overview import make_rows
from dbq.definitions import is_queue_name
from dbq.verbs import VERBS

QUEUES_PER_PAGE = 15
NAME_MAX_LENGTH = 50


@allow()
@require_safe
def queue_list(request: HttpRequest) -> HttpResponse:
    template = "dbq/_fragments/_queues.html" if is_fragment(request) else "dbq/queue_list.html"
    return render(request, template, _make_context(request))


def _make_context(request: HttpRequest) -> dict[str, Any]:
    """The page that is asked for, of all queues or of those whose names have a text."""
    asked = request.GET
    report: QueuesReport | None = take_section(partial(report_queues, age=find_patience(request)))
    if report is None:
        return {"report": None}
    text, number = asked.get("name", "")[:NAME_MAX_LENGTH], asked.get("page", "1")
    page = report.find_page(text, int(number) if number.isdecimal() else 1, QUEUES_PER_PAGE)
    return {"report": report, "rows": make_rows(page.queues), "queue_page": page, "searched": text}


@allow(verb="pause_queue")
@require_http_methods(["GET", "HEAD", "POST"])
def queue_pause(request: HttpRequest, name: str) -> HttpResponse:
    """Ask for the reason and the time of an automatic resume, then pause."""
    _check_name(name)
    form = PauseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        act(request, "pause_queue", name, reason=form.cleaned_data["reason"], until=form.until)
        return redirect(find_way_back(request, "dbq:queue-list"))
    report = take_section(partial(report_queues, age=find_patience(request)))
    queue = next((queue for queue in report.queues if queue.name == name), None) if report else None
    context = {
        "heading": _("Pause %(queue)s") % {"queue": name},
        "page": "queues",
        "back": find_way_back(request, "dbq:queue-list"),
        "name": name,
        "form": form,
        "queue": queue,
        "verb": VERBS["pause_queue"],
    }
    return show_sheet(request, "_queue_pause", context)


@allow(verb="resume_queue")
@require_POST
def queue_resume(request: HttpRequest, name: str) -> HttpResponse:
    _check_name(name)
    act(request, "resume_queue", name)
    return redirect(find_way_back(request, "dbq:queue-list"))


def _check_name(name: str) -> None:
    if not is_queue_name(name):
        raise Http404("No queue can have this name.")
