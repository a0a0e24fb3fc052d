"""Operations: what operators did, and bulk acts while they run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from dashboard.access import allow, is_fragment, show_refusal
from dashboard.queries import operations as queries
from dashboard.sections import make_section
from dbq import bulk, operations
from dbq.models import Operation, OperationItem
from dbq.operations import Actor
from dbq.verbs import VERBS

VIEW = "dbq.view_operation"
ACTOR_MAX_LENGTH = 150
# Of one request that carries an operation out because no worker does.
RUN_SECONDS = 2.0


@allow(VIEW)
@require_safe
def operation_list(request: HttpRequest) -> HttpResponse:
    asked = _read_filters(request)
    place: dict[str, Any] = _read_place(request)
    page = make_section(lambda: queries.find_operations(**asked, **place))
    context = {
        "page_of": page,
        "asked": asked,
        "is_filtered": any(asked.values()),
        "states": Operation.State.choices,
        "verbs": [(name, verb.label) for name, verb in VERBS.items()],
        "query": urlencode(_make_query(asked)),
        "is_live": not place,
    }
    template = "_fragments/_operations" if is_fragment(request) else "operation_list"
    return render(request, f"dbq/{template}.html", context)


def _read_filters(request: HttpRequest) -> dict[str, Any]:
    """The filters that are understood; the rest is left out."""
    states = [s for s in request.GET.getlist("state")[:10] if s in Operation.State.values]
    verb = request.GET.get("verb", "")
    try:
        job_id = UUID(request.GET.get("job", ""))
    except ValueError:
        job_id = None
    return {
        "states": states,
        "verb": verb if verb in VERBS else "",
        "actor": request.GET.get("actor", "").replace("\0", "").strip()[:ACTOR_MAX_LENGTH],
        "job_id": job_id,
    }


def _make_query(asked: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [("state", state) for state in asked["states"]]
    pairs += [("verb", asked["verb"]), ("actor", asked["actor"]), ("job", asked["job_id"] or "")]
    return [(name, str(value)) for name, value in pairs if value]


def _read_place(request: HttpRequest) -> dict[str, int]:
    for name in ("before", "after"):
        number = _read_number(request.GET.get(name, ""))
        if number:
            return {name: number}
    return {}


def _read_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


@allow(VIEW)
@require_safe
def operation_detail(request: HttpRequest, pk: int) -> HttpResponse:
    operation = _get_operation(pk)
    outcome = request.GET.get("outcome", "")
    outcome = outcome if outcome in OperationItem.Outcome.values else ""
    after = _read_number(request.GET.get("after", ""))
    items = None
    if operation.is_bulk:
        items = make_section(lambda: queries.find_items(operation, outcome=outcome, after=after))
    context = {
        "operation": operation,
        "record": queries.Record(operation),
        "verb": VERBS[operation.verb],
        "items": items,
        "outcome": outcome,
        "outcomes": _list_outcomes(operation),
        "after": after,
        "is_served": not operation.is_running or bulk.is_served(),
        "may_act": _may_act(request, operation),
    }
    template = "_fragments/_operation" if is_fragment(request) else "operation_detail"
    return render(request, f"dbq/{template}.html", context)


def _get_operation(pk: int) -> Operation:
    operation = queries.get_operation(pk)
    if operation is None or operation.verb not in VERBS:
        raise Http404(gettext("There is no such operation."))
    return operation


def _list_outcomes(operation: Operation) -> list[tuple[str, Any, int]]:
    return [
        (value, label, getattr(operation, value.lower())) for value, label in OperationItem.Outcome.choices
    ]


def _may_act(request: HttpRequest, operation: Operation) -> bool:
    """Who may do a thing to many jobs may also stop it."""
    return operation.is_bulk and operations.may(request.user, operation.verb)


@allow(VIEW)
@require_POST
def operation_stop(request: HttpRequest, pk: int) -> HttpResponse:
    """End a running operation after its current chunk."""
    operation = _get_operation(pk)
    if not operations.permit(request.user, operation.verb, operation):
        return show_refusal(request, [VERBS[operation.verb].permission])
    record = bulk.stop(
        Actor.from_user(request.user), operation, reason=request.POST.get("reason", "").strip()
    )
    level = messages.WARNING if record.is_refused else messages.SUCCESS
    messages.add_message(request, level, record.message)
    return redirect("dbq:operation-detail", pk)


@allow(VIEW)
@require_POST
def operation_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Carry an operation out here for two seconds; for when no worker lives to do it."""
    operation = _get_operation(pk)
    if not operations.permit(request.user, operation.verb, operation):
        return show_refusal(request, [VERBS[operation.verb].permission])
    bulk.run_to_end(operation, seconds=RUN_SECONDS)
    return redirect("dbq:operation-detail", pk)
