"""The list of jobs: what the filters match, a page of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from django_htmx.http import push_url

from dashboard.access import allow, get_htmx, is_fragment
from dashboard.addresses import find_address, shorten_id, write_job_address
from dashboard.filters import JobFilter, list_names
from dashboard.numbers import Number
from dashboard.paging import Page
from dashboard.queries.jobs import JobSearch, list_queue_names, list_worker_names
from dashboard.queries.totals import SECONDS, count_states
from dashboard.reasons import Reason, Surroundings
from dashboard.sections import make_section
from dashboard.snapshots import Snapshot
from dashboard.task_strip import Strip, make_strip
from dbq import operations
from dbq.masking import mask_text
from dbq.models import Job
from dbq.states import FINISHED, State
from dbq.verbs import VERBS

BULK_VERBS = ("retry", "requeue", "cancel", "delete")
# Those in sight before "States, times and more" is opened; the states have their own links.
FIRST_FILTERS = ("error", "name", "queue", "workspace", "state")


@dataclass(frozen=True)
class Row:
    """One job as the list shows it."""

    job: Job
    strip: Strip
    reason: Reason | None
    error: str
    can_retry: bool
    address: str
    short_id: str


@allow()
@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    """The jobs that match the filters, a page of them; htmx gets the table or the count alone."""
    job_filter = JobFilter(request.GET)
    if request.GET.get("part") == "count":
        return render(request, "dbq/_fragments/_job_count.html", {"count": JobSearch(job_filter).count()})
    address = _write_address(job_filter, request)
    if not is_fragment(request):
        if "" in request.GET.dict().values():
            # What a form without script leaves empty has no place in an address that is passed on.
            return HttpResponseRedirect(address)
        return render(request, "dbq/job_list.html", _make_list(request, job_filter))
    response = render(request, "dbq/_job_table.html", _make_list(request, job_filter))
    return push_url(response, address) if get_htmx(request).trigger == "job-filter" else response


def _write_address(job_filter: JobFilter, request: HttpRequest, **places: str) -> str:
    pairs = {name: value for name, value in places.items() if value}
    query = "&".join(filter(None, (job_filter.querystring, _sort_pair(request), urlencode(pairs))))
    return f"{find_address('dbq:job-list')}{'?' if query else ''}{query}"


def _sort_pair(request: HttpRequest) -> str:
    sort = request.GET.get("sort", "")
    return urlencode({"sort": sort}) if sort else ""


def _make_list(request: HttpRequest, job_filter: JobFilter) -> dict[str, Any]:
    search = JobSearch(job_filter)
    after, before = (request.GET.get(name, "")[:200] for name in ("after", "before"))
    page = search.find_page(after=after, before=before)
    surroundings = Surroundings.read_for(page.rows)
    may_retry = operations.may(request.user, "retry")
    return {
        "filter": job_filter,
        "form": job_filter.form,
        "page": page,
        "rows": [_make_row(job, surroundings, may_retry) for job in page.rows],
        "active": _list_active(job_filter),
        "trouble": " ".join(str(e) for errors in job_filter.errors.values() for e in errors),
        "segments": _list_segments(job_filter),
        "columns": _list_columns(job_filter, search),
        "bulk_verbs": [VERBS[name] for name in BULK_VERBS if operations.may(request.user, name)],
        "is_more_open": bool({*job_filter.active, *job_filter.errors} - set(FIRST_FILTERS)),
        "here": _write_address(job_filter, request, after=after, before=before),
        "clear": find_address("dbq:job-list"),
        **_make_links(page, job_filter, request),
        **_make_suggestions(request),
    }


def _make_row(job: Job, surroundings: Surroundings, may_retry: bool) -> Row:
    return Row(
        job=job,
        strip=make_strip(job),
        reason=surroundings.explain_briefly(job),
        error=mask_text(job.error_message) if job.state != State.COMPLETED else "",
        can_retry=may_retry and operations.can_act("retry", job),
        address=write_job_address(job.pk),
        short_id=shorten_id(job.pk),
    )


def _make_links(page: Page, job_filter: JobFilter, request: HttpRequest) -> dict[str, str]:
    def link(name: str, place: str) -> str:
        return _write_address(job_filter, request, **{name: place}) if place else ""

    is_inside = bool(request.GET.get("after") or request.GET.get("before"))
    return {
        "first": _write_address(job_filter, request) if is_inside and page.previous else "",
        "newer": link("before", page.previous),
        "older": link("after", page.next),
        "count_address": _write_address(job_filter, request, part="count"),
        "export_csv": _write_export_address(job_filter, "csv"),
        "export_jsonl": _write_export_address(job_filter, "jsonl"),
    }


def _write_export_address(job_filter: JobFilter, name: str) -> str:
    query = "&".join(filter(None, (job_filter.querystring, urlencode({"format": name}))))
    return f"{find_address('dbq:jobs-export')}?{query}"


def _make_suggestions(request: HttpRequest) -> dict[str, list[str]]:
    if is_fragment(request):
        return {}
    return {
        **list_names(),
        "queue_names": list_queue_names().value,
        "worker_names": list_worker_names().value,
    }


@dataclass(frozen=True)
class Active:
    """A filter that is set, in words, and the address of the list without it."""

    label: str
    value: str
    without: str


def _list_active(job_filter: JobFilter) -> list[Active]:
    active = []
    for name in job_filter.active:
        field = job_filter.form.fields[name]
        values = job_filter.data.getlist(name)
        words = dict(getattr(field, "choices", ()))
        shown = ", ".join(str(words.get(value, value)) for value in values)
        active.append(Active(str(field.label), shown, _write_list_address(job_filter, **{name: ()})))
    return active


def _write_list_address(job_filter: JobFilter, **changed: Iterable[str]) -> str:
    """The list's first page with some filters changed, the others kept."""
    data = job_filter.data.copy()
    for name in ("after", "before", "part"):
        data.pop(name, None)
    for name, values in changed.items():
        data.setlist(name, [str(value) for value in values])
    query = data.urlencode()
    return f"{find_address('dbq:job-list')}{'?' if query else ''}{query}"


@dataclass(frozen=True)
class Segment:
    label: str
    address: str
    is_current: bool
    number: Number | None
    # Of the number, in seconds.
    age: float


def _list_segments(job_filter: JobFilter) -> list[Segment]:
    """The usual mixes of states, one press away; the other filters stay."""
    mixes: list[tuple[str, tuple[str, ...]]] = [
        (_("All"), ()),
        (_("Waiting"), (State.NEW, State.READY)),
        (_("Processing"), (State.PROCESSING,)),
        (_("Failed"), (State.FAILED,)),
        (_("Completed"), (State.COMPLETED,)),
        (_("Cancelled"), (State.CANCELLED,)),
    ]
    chosen = set(job_filter.data.getlist("state"))
    totals = _find_totals(job_filter)
    return [
        Segment(
            label,
            _write_list_address(job_filter, state=states, sort=()),
            chosen == set(states),
            _add_up(totals.value, states) if totals else None,
            totals.age if totals else 0,
        )
        for label, states in mixes
    ]


def _find_totals(job_filter: JobFilter) -> Snapshot | None:
    """How many jobs there are by state, where no other filter makes these numbers wrong."""
    if not job_filter.is_valid() or set(job_filter.active) - {"state"}:
        return None
    return make_section(count_states, SECONDS)


def _add_up(totals: dict[str, Number], states: tuple[str, ...]) -> Number:
    return Number.total(totals[state] for state in states or totals if state in totals)


@dataclass(frozen=True)
class Column:
    """The head of a column; with an address the list can be put in its order."""

    label: str
    address: str = ""
    sorted: str = ""


def _list_columns(job_filter: JobFilter, search: JobSearch) -> list[Column]:
    created = _make_column(_("Created"), "created", job_filter, search)
    if search.states - set(FINISHED):
        return [Column(_("Queue")), created, Column(_("Ended"))]
    return [Column(_("Queue")), created, _make_column(_("Ended"), "finished", job_filter, search)]


def _make_column(label: str, sort: str, job_filter: JobFilter, search: JobSearch) -> Column:
    """Pressed again, it turns the order round."""
    other = sort if search.order == f"-{sort}" else f"-{sort}"
    words = {sort: "ascending", f"-{sort}": "descending"}
    address = _write_list_address(job_filter, sort=(other,))
    return Column(label, address, words.get(search.order, ""))
