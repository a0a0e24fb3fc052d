"""Queues: what waits in each, and stopping and starting them."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard.access import allow, is_fragment
from dashboard.acts import act, find_way_back
from dashboard.forms import PauseForm
from dashboard.queries.queues import report_queues
from dashboard.sections import make_section
from dashboard.sheets import show_sheet
from dashboard.views.overview import make_health
from dbq.definitions import is_queue_name
from dbq.verbs import VERBS


@allow()
@require_safe
def queue_list(request: HttpRequest) -> HttpResponse:
    template = "dbq/_fragments/_queues.html" if is_fragment(request) else "dbq/queue_list.html"
    return render(request, template, make_health(request))


@allow(verb="pause_queue")
@require_http_methods(["GET", "HEAD", "POST"])
def queue_pause(request: HttpRequest, name: str) -> HttpResponse:
    """Ask for the reason and the time of an automatic resume, then pause."""
    _check_name(name)
    form = PauseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        act(request, "pause_queue", name, reason=form.cleaned_data["reason"], until=form.until)
        return redirect(find_way_back(request, "dbq:queue-list"))
    report = make_section(report_queues)
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
