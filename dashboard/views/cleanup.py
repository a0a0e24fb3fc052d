"""The clean-up: choose an age, see what would go, confirm, watch it go."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard.access import allow, find_part
from dashboard.forms import CleanupForm
from dashboard.looks import STATES
from dashboard.queries import cleanup as queries
from dashboard.sections import make_section
from dbq import bulk, operations
from dbq.exceptions import DbqError
from dbq.models import Operation
from dbq.states import FINISHED


@allow(verb="cleanup")
@require_http_methods(["GET", "HEAD", "POST"])
def cleanup(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _start(request)
    if find_part(request) == "cleanup-progress":
        return render(request, "dbq/_fragments/_cleanup_progress.html", _find_shown(request))
    return render(request, "dbq/cleanup.html", _make_context(request))


def _start(request: HttpRequest) -> HttpResponse:
    """Confirm the preview that the form carries, signed; workers do the rest."""
    actor = operations.Actor.from_user(request.user)
    try:
        proposal = bulk.Proposal.unpack(request.POST.get("proposal", ""), actor)
        if proposal.verb != "cleanup":
            raise DbqError("This confirmation is not of a clean-up.")
        operation = bulk.start(actor, proposal, reason=request.POST.get("reason", "").strip())
    except DbqError as error:
        messages.error(request, str(error))
        return redirect("dbq:cleanup")
    return redirect(f"{reverse('dbq:cleanup')}?operation={operation.pk}")


def _make_context(request: HttpRequest) -> dict[str, Any]:
    finished = make_section(queries.list_finished) or {}
    is_asked = "age" in request.GET
    form = CleanupForm(request.GET if is_asked else None, list(finished))
    context: dict[str, Any] = {
        "form": form,
        "finished": sum(finished.values()),
        "cleanups": queries.list_cleanups(),
        "columns": [STATES[state] for state in FINISHED],
        **_find_shown(request),
    }
    if is_asked and form.is_valid():
        context |= _make_preview(request, form.cleaned_data)
    return context


def _make_preview(request: HttpRequest, wanted: dict[str, Any]) -> dict[str, Any]:
    make = queries.preview_cleanup
    preview = make_section(lambda: make(wanted["hours"], wanted["queue"], wanted["state"]))
    packed = preview.proposal.pack(operations.Actor.from_user(request.user)) if preview else ""
    return {"is_previewed": True, "preview": preview, "packed": packed}


def _find_shown(request: HttpRequest) -> dict[str, Any]:
    """The clean-up that is followed on this page, and whether anybody carries it out."""
    pk = request.GET.get("operation", "")
    if not (pk.isascii() and pk.isdigit() and len(pk) < 19):
        return {}
    shown = get_object_or_404(Operation.objects.defer("job_ids"), pk=pk, verb="cleanup")
    is_running = shown.state == Operation.State.RUNNING
    return {
        "shown": shown,
        "is_running": is_running,
        "is_served": not is_running or bulk.is_served(),
    }
