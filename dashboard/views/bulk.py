"""Acts on many jobs: first what would happen, on a page of its own; then, confirmed, an operation."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from dashboard.access import allow, show_refusal
from dashboard.acts import find_way_back
from dashboard.filters import parse_querystring
from dashboard.queries import operations as queries
from dbq import bulk, operations
from dbq.bulk import Proposal
from dbq.exceptions import InvalidCriteria
from dbq.models import Operation
from dbq.operations import Actor
from dbq.states import State
from dbq.verbs import VERBS

# A form of the browser may carry a thousand fields.
TICKED_MAX = 500


class NothingToDo(Exception):
    """A form that names no jobs, or names them wrongly; the message is for the operator."""


@allow()
@require_POST
def jobs_act(request: HttpRequest) -> HttpResponse:
    """Act on ticked jobs, or on all that the filters match.

    `verb` with `ids`, or with `all` and `filters` (a query string of the job list), shows what would
    happen; `proposal`, from that page, does it.
    """
    if "proposal" in request.POST:
        return confirm(request)
    return ask(request, request.POST.get("verb", ""), _propose)


@allow()
@require_POST
def failure_act(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Act on all failed jobs of a group."""
    return ask(
        request,
        request.POST.get("verb", ""),
        lambda request, verb: bulk.propose(
            verb,
            [["state", "in", [State.FAILED]], ["fingerprint", "exact", fingerprint]],
            filters=urlencode({"state": State.FAILED, "fingerprint": fingerprint}),
            count=False,
        ),
    )


def ask(request: HttpRequest, verb: str, propose: Callable[[HttpRequest, str], Proposal]) -> HttpResponse:
    """Show what would happen, or why nothing will."""
    if verb not in VERBS or not VERBS[verb].is_bulk:
        messages.error(request, gettext("There is no such act."))
        return _go_back(request)
    if not operations.permit(request.user, verb):
        return show_refusal(request, [VERBS[verb].permission])
    try:
        proposal = propose(request, verb)
    except (NothingToDo, InvalidCriteria) as problem:
        messages.warning(request, str(problem))
        return _go_back(request)
    return show_proposal(request, proposal)


def _propose(request: HttpRequest, verb: str) -> Proposal:
    if request.POST.get("all"):
        return _propose_all(request.POST.get("filters", ""), verb)
    return bulk.propose(verb, ids=_read_ids(request.POST.getlist("ids")), count=False)


def _propose_all(filters: str, verb: str) -> Proposal:
    job_filter = parse_querystring(filters)
    if not job_filter.is_valid():
        raise NothingToDo(gettext("The filters are not understood; correct them first."))
    return bulk.propose(verb, job_filter.criteria, filters=job_filter.querystring, count=False)


def _read_ids(texts: list[str]) -> list[UUID]:
    if not texts:
        raise NothingToDo(gettext("No job is ticked."))
    if len(texts) > TICKED_MAX:
        raise NothingToDo(
            gettext("At most %(limit)d jobs can be ticked; take all that match instead.")
            % {"limit": TICKED_MAX}
        )
    try:
        return [UUID(text) for text in texts]
    except ValueError:
        raise NothingToDo(gettext("What is ticked is not a job.")) from None


def show_proposal(request: HttpRequest, proposal: Proposal) -> HttpResponse:
    seen = queries.look_at(proposal)
    context = {
        "seen": seen,
        "verb": VERBS[proposal.verb],
        "packed": seen.proposal.pack(Actor.from_user(request.user)),
        "is_served": bulk.is_served(),
        "chunk": bulk.CHUNK,
        "next": find_way_back(request, "dbq:job-list"),
    }
    return render(request, "dbq/jobs_act_confirm.html", context)


def confirm(request: HttpRequest) -> HttpResponse:
    """Do what was shown, if the operator still may."""
    actor = Actor.from_user(request.user)
    try:
        proposal = Proposal.unpack(request.POST["proposal"], actor)
    except InvalidCriteria as problem:
        messages.error(request, str(problem))
        return _go_back(request)
    if not operations.permit(request.user, proposal.verb):
        return show_refusal(request, [VERBS[proposal.verb].permission])
    operation = bulk.start(actor, proposal, reason=request.POST.get("reason", "").strip())
    _announce(request, operation)
    return redirect("dbq:operation-detail", operation.pk)


def _announce(request: HttpRequest, operation: Operation) -> None:
    if operation.is_running:
        messages.info(request, gettext("Confirmed; the workers do it chunk by chunk."))
        return
    done = ngettext("%(past)s %(done)d job.", "%(past)s %(done)d jobs.", operation.done) % {
        "past": VERBS[operation.verb].past,
        "done": operation.done,
    }
    untouched = operation.skipped + operation.failed
    if untouched:
        left = ngettext(
            "%(amount)d was left as it is; see why below.",
            "%(amount)d were left as they are; see why below.",
            untouched,
        )
        messages.warning(request, f"{done} {left % {'amount': untouched}}")
    else:
        messages.success(request, done)


def _go_back(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(find_way_back(request, "dbq:job-list"))
