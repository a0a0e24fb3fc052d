"""Is it healthy: the first page, and the parts of it that refresh by themselves."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import charts, preferences
from dashboard.access import allow, find_part
from dashboard.preferences import find_patience
from dashboard.queries import overview as queries
from dashboard.queries.queues import QueueReport, QueuesReport, report_queues
from dashboard.queries.rates import Hour, read_hours
from dashboard.queries.throughput import DEFAULT, RANGES, Throughput, read_throughput
from dashboard.sections import take_section

# Of more queues the overview has those that need a look and the fullest: each row costs milliseconds.
QUEUES_SHOWN = 25
# The parts that htmx may ask for, by the id of the element that asks.
PARTS = {
    "health": "dbq/_fragments/_health.html",
    "throughput": "dbq/_fragments/_throughput.html",
    "cleanup-card": "dbq/_fragments/_cleanup_card.html",
}


@allow()
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    part = find_part(request)
    makers = {"health": make_health, "throughput": make_throughput, "cleanup-card": make_cleanup_card}
    if part in PARTS:
        return render(request, PARTS[part], makers[part](request))
    context: dict[str, Any] = {}
    for name, make in makers.items():
        context |= {"later": True} if name == "throughput" and _comes_later(request) else make(request)
    return render(request, "dbq/overview.html", context | describe_range(request))


def make_health(request: HttpRequest) -> dict[str, Any]:
    report: QueuesReport | None = take_section(partial(report_queues, age=find_patience(request)))
    if report is None:
        return {"report": None}
    return {
        "report": report,
        "rows": make_rows(report.pick_foremost(QUEUES_SHOWN)),
        "totals": queries.list_totals(report.queues),
    }


def make_rows(queues: list[QueueReport]) -> list[tuple[QueueReport, charts.Chart]]:
    """Queues, each with the drawing of its last hour."""
    names = tuple(sorted(queue.name for queue in queues))
    snapshot = take_section(lambda: read_hours(names))
    hours = snapshot.value if snapshot else {}
    return [(queue, _draw_hour(hours.get(queue.name, Hour()))) for queue in queues]


def _draw_hour(hour: Hour) -> charts.Chart:
    return charts.draw_spark(hour.completed, hour.failed)


def make_throughput(request: HttpRequest) -> dict[str, Any]:
    described = describe_range(request)
    key = described["range"].key
    queue_name = described["queue_name"]
    throughput: Throughput | None = take_section(lambda: read_throughput(key, queue_name))
    # The one that is shown is offered even if nothing has ended in it yet.
    described["queue_names"] = sorted({*queries.list_charted().value, *filter(None, [queue_name])})
    if throughput is None:
        return {**described, "throughput": None}
    buckets = throughput.buckets
    rows = [
        [("completed", bucket.completed), ("cancelled", bucket.cancelled), ("failed", bucket.failed)]
        for bucket in buckets
    ]
    return {
        **described,
        "throughput": throughput,
        "chart": charts.stack(rows, charts.HEIGHT, buckets),
        "labels": charts.pick_labels(buckets),
    }


def make_cleanup_card(request: HttpRequest) -> dict[str, Any]:
    return {"last_cleanup": queries.find_last_cleanup.within(find_patience(request), "default").value}


def describe_range(request: HttpRequest) -> dict[str, Any]:
    """The range of the chart that the address asks for, or the usual one."""
    choice = RANGES.get(request.GET.get("range", ""), RANGES[DEFAULT])
    queue_name = request.GET.get("queue", "")[:50]
    return {
        "range": choice,
        "ranges": RANGES.values(),
        "queue_name": queue_name,
        "of_queue": f"&{urlencode({'queue': queue_name})}" if queue_name else "",
    }


def _comes_later(request: HttpRequest) -> bool:
    """Whether the chart may follow the page: it is slow, and the browser is known to fetch it."""
    has_script = request.COOKIES.get(preferences.SCRIPT_COOKIE) == "1"
    return describe_range(request)["range"].is_slow and has_script and "complete" not in request.GET
