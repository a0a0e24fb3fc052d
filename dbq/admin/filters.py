"""The filters of the job list: few, each along an index, each known to `dbq.criteria`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dbq import criteria
from dbq.criteria import Criteria
from dbq.definitions import get_definitions, is_queue_name
from dbq.identifiers import uuid7_floor
from dbq.models import Queue, QueueCount, Worker
from dbq.states import FINISHED, Lane, State

CHOICES_MAX = 100

STANDINGS: dict[str, tuple[Any, Criteria]] = {
    "waiting": (_("Waiting"), [["lane", "exact", Lane.CLAIMABLE]]),
    "scheduled": (_("Scheduled"), [["lane", "exact", Lane.WAITING]]),
    "processing": (_("Processing"), [["state", "exact", State.PROCESSING]]),
    "completed": (_("Completed"), [["state", "exact", State.COMPLETED]]),
    "failed": (_("Failed"), [["state", "exact", State.FAILED]]),
    "cancelled": (_("Cancelled"), [["state", "exact", State.CANCELLED]]),
}
FINISHED_STANDINGS = {state.lower() for state in FINISHED}
AGES = {
    "hour": (_("Past hour"), timedelta(hours=1)),
    "day": (_("Past 24 hours"), timedelta(days=1)),
    "week": (_("Past 7 days"), timedelta(days=7)),
}


class CriteriaFilter(admin.SimpleListFilter):
    """A filter that can say what it means to a bulk act."""

    def get_criteria(self) -> Criteria:
        """The criteria of the chosen value; none if nothing, or nothing known, is chosen."""
        raise NotImplementedError(f"{type(self).__name__} must say which criteria its choices stand for.")

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return criteria.apply(queryset, self.get_criteria())  # type: ignore[arg-type]


class StandingFilter(CriteriaFilter):
    title = _("state")
    parameter_name = "stands"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, label) for name, (label, _) in STANDINGS.items()]

    def get_criteria(self) -> Criteria:
        return STANDINGS.get(self.value() or "", (None, []))[1]


class QueueFilter(CriteriaFilter):
    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = {*Queue.objects.values_list("name", flat=True)[:CHOICES_MAX]}
        names |= set(QueueCount.objects.values_list("queue_name", flat=True)[: 3 * CHOICES_MAX])
        for served in Worker.objects.values_list("queue_names", flat=True)[:CHOICES_MAX]:
            names |= set(served)
        # What is chosen stays among the choices, so that it can be seen and taken away.
        chosen = self.used_parameters.get(self.parameter_name)
        names |= {str(chosen)} if is_queue_name(chosen) else set()
        return [(name, name) for name in sorted(names)[:CHOICES_MAX]]

    def get_criteria(self) -> Criteria:
        return [["queue_name", "exact", self.value()]] if is_queue_name(self.value()) else []


class NameFilter(CriteriaFilter):
    title = _("name")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(get_definitions())[:CHOICES_MAX]]

    def get_criteria(self) -> Criteria:
        return [["name", "exact", self.value()]] if self.value() in get_definitions() else []


class AgeFilter(CriteriaFilter):
    title = _("created")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, label) for name, (label, _) in AGES.items()]

    def get_criteria(self) -> Criteria:
        age = AGES.get(self.value() or "")
        return [["created", "gte", timezone.now() - age[1]]] if age else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        # Ids tell when they were made, and every table has their index.
        criterion = self.get_criteria()
        return queryset.filter(pk__gte=uuid7_floor(criterion[0][2])) if criterion else queryset
