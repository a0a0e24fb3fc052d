"""An operator at the console: accounts, pages as text, and queues with figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dbq import counts, histograms
from dbq.models import Job, Rollup
from dbq.states import Lane, State


def make_user(name: str, *permissions: str) -> User:
    """An account with these permissions of dbq, given by codename."""
    user = User.objects.create_user(name)
    found = Permission.objects.filter(content_type__app_label="dbq", codename__in=permissions)
    user.user_permissions.set(found)
    assert len(found) == len(permissions), f"Not all of {permissions} exist."
    return user


def log_in(client: Any, *permissions: str, name: str = "olga") -> Any:
    """The client, with an account that may see jobs and has these permissions beside it."""
    client.user = make_user(name, "view_job", *permissions)
    client.force_login(client.user)
    return client


def ask_for(target: str) -> dict[str, str]:
    """The headers with which htmx asks for one part of a page."""
    return {"HX-Request": "true", "HX-Target": target}


def read(response: HttpResponse) -> str:
    """A page as text, without tags."""
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", text).strip()


@contextmanager
def reading_at_most(amount: int) -> Iterator[None]:
    """Fail if more statements than that read or write tables of dbq; limits and savepoints are free."""
    with CaptureQueriesContext(connection) as captured:
        yield
    statements = [query["sql"] for query in captured if "dbq_" in query["sql"]]
    assert len(statements) <= amount, "\n\n".join(statements)


def make_finished(amount: int, state: State = State.COMPLETED, hours: float = 0, **fields: Any) -> None:
    """Jobs that ended, that many hours ago."""
    fields = {"name": "edit", **fields}
    jobs = Job.objects.bulk_create([Job(**fields) for _ in range(amount)])
    ended = timezone.now() - timedelta(hours=hours)
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
        state=state, lane=Lane.FINISHED, created=ended, started=ended, finished=ended
    )
    counts.recount()


def make_minute(queue_name: str, ago: int = 1, **figures: Any) -> Rollup:
    """What happened in one minute; `wait` and `run` are seconds that every job took."""
    amount = figures.get("completed", 0) + figures.get("failed", 0)
    histogram = {
        name: {histograms.find_bucket(figures.pop(name)): amount} if name in figures else {}
        for name in ("wait", "run")
    }
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=ago)
    return Rollup.objects.create(
        minute=minute,
        queue_name=queue_name,
        name="edit",
        waits=histogram["wait"],
        runs=histogram["run"],
        **figures,
    )
