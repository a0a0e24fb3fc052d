"""What load balancers, orchestrators and monitors ask, and anybody else may: no login, no secrets.

Answers are shared for a moment, so that a flood of questions costs the database one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required
from django.db import connections, router, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dbq import findings, readiness
from dbq.health import Finding, describe
from dbq.models import Job

SHARED_SECONDS = 2.0
# For the answer that somebody else is looking for.
WAIT_SECONDS = 1.0

View = Callable[[HttpRequest], HttpResponse]


class SharedAnswer:
    """One answer for all who ask within a moment; only one of them looks for it."""

    def __init__(self, look: Callable[[], list[Finding]]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._found: tuple[list[Finding], float] | None = None

    def get(self) -> list[Finding]:
        found = self._get_fresh()
        if found is None and self._lock.acquire(timeout=WAIT_SECONDS):
            try:
                found = self._get_fresh()
                if found is None:
                    found = self._look()
                    self._found = (found, time.monotonic())
            finally:
                self._lock.release()
        if found is None:
            # As long as the network leaves the one who looks in the dark, the others need not wait as well.
            return [Finding("alarm", "database", "The database has not answered the question before this.")]
        return found

    def _get_fresh(self) -> list[Finding] | None:
        if self._found is None or time.monotonic() - self._found[1] > SHARED_SECONDS:
            return None
        return self._found[0]

    def forget(self) -> None:
        self._found = None


obstacles = SharedAnswer(lambda: readiness.find_obstacles(router.db_for_write(Job)))
all_findings = SharedAnswer(lambda: findings.find())


def probe(view: View) -> View:
    """For everybody, to read only, never kept, and reached without the database."""
    view = never_cache(require_safe(login_not_required(view)))
    for alias in connections:
        # ATOMIC_REQUESTS would connect before the view could say that it cannot.
        view = transaction.non_atomic_requests(alias)(view)
    return view


@probe
def live(request: HttpRequest) -> HttpResponse:
    """This process answers; of nothing else is anything said."""
    return _answer("live")


@probe
def ready(request: HttpRequest) -> HttpResponse:
    """The database answers, has dbq's tables and takes writes; otherwise 503, and why."""
    found = obstacles.get()
    if found:
        return _answer(" ".join(finding.reason for finding in found), status=503)
    return _answer("ready")


@probe
def queue(request: HttpRequest) -> HttpResponse:
    """What `manage.py dbq_health --json` says, without the details; 503 when its exit status would be 2."""
    report = describe(all_findings.get(), with_details=False)
    return JsonResponse(report, status=503 if report["status"] == 2 else 200)


def _answer(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8", status=status)
