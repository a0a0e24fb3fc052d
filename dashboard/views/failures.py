"""Failed jobs by kind, and acts on all of one kind."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from dashboard.access import allow, is_fragment
from dashboard.preferences import find_patience
from dashboard.queries.failures import PERIODS, ROWS_MAX, SORTS, find_failures
from dashboard.queries.jobs import list_queue_names
from dbq import operations
from dbq.verbs import VERBS, Verb

GROUP_VERBS = ("retry", "requeue", "delete")
PERIOD_WORDS = {"1h": _("1 hour"), "24h": _("24 hours"), "7d": _("7 days"), "all": _("All")}
SORT_WORDS = {"count": _("Most"), "last": _("Last seen"), "first": _("Newest kind")}
TEXT_MAX = 100


@dataclass(frozen=True)
class Choice:
    label: object
    address: str
    is_current: bool


@dataclass(frozen=True)
class Button:
    """A verb as every row shows it, its label already in the reader's language."""

    name: str
    label: str
    is_final: bool


@allow()
@require_safe
def failure_list(request: HttpRequest) -> HttpResponse:
    """The groups among the newest failures."""
    period = _choose(request, "period", PERIODS, "7d")
    sort = _choose(request, "sort", SORTS, "last")
    queue_name = request.GET.get("queue", "")[:TEXT_MAX].replace("\0", "")
    name = request.GET.get("name", "")[:TEXT_MAX].replace("\0", "")
    kept = {"period": period, "sort": sort, "queue": queue_name, "name": name}
    context = {
        "failures": find_failures(period, sort, queue_name, name, age=find_patience(request)),
        "rows_max": ROWS_MAX,
        "periods": [_make_choice("period", *item, kept) for item in PERIOD_WORDS.items()],
        "sorts": [_make_choice("sort", *item, kept) for item in SORT_WORDS.items()],
        "kept": kept,
        "verbs": [_make_button(VERBS[verb]) for verb in GROUP_VERBS if operations.may(request.user, verb)],
    }
    if is_fragment(request):
        return render(request, "dbq/_fragments/_failure_groups.html", context)
    return render(request, "dbq/failure_list.html", {**context, "queue_names": list_queue_names().value})


def _make_button(verb: Verb) -> Button:
    return Button(verb.name, str(verb.label), verb.is_final)


def _choose(request: HttpRequest, name: str, choices: object, default: str) -> str:
    value = request.GET.get(name, default)
    return value if value in choices else default  # type: ignore[operator]


def _make_choice(name: str, value: str, label: object, kept: dict[str, str]) -> Choice:
    pairs = {key: text for key, text in {**kept, name: value}.items() if text}
    return Choice(label, f"{reverse('dbq:failure-list')}?{urlencode(pairs)}", kept[name] == value)
