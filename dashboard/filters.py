"""What the job list can be narrowed down by, and what that means as criteria."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import django_filters
from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from dbq import masking
from dbq.criteria import Criteria, Criterion, apply, check
from dbq.definitions import PRIORITY_LIMIT, get_definitions
from dbq.models import Job, Worker
from dbq.states import FINISHED, Lane, State

SORTS = {
    "-created": _("Newest first"),
    "created": _("Oldest first"),
    "-finished": _("Finished last"),
    "finished": _("Finished first"),
    "priority": _("In the order of their turn"),
    "due": _("Due soonest"),
}
WHEN = {"due": _("Due now"), "scheduled": _("Scheduled or backing off")}
TEXT_MAX_LENGTH = 200
WORKERS_MAX = 100
# As many as fit into an address.
IDS_MAX = 100
PATH_MAX_KEYS = 20


class MomentInput(forms.DateTimeInput):
    """A browser's own field for a date and time, which takes them without a zone only."""

    input_type = "datetime-local"

    def format_value(self, value: Any) -> str:
        moment = value if isinstance(value, datetime) else _read_moment(value)
        if moment is None:
            return value or ""
        if timezone.is_aware(moment):
            moment = timezone.localtime(moment)
        return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _read_moment(text: Any) -> datetime | None:
    """A time as ISO 8601 has it; None for what is none, or so far off that a database cannot follow."""
    try:
        # A "+" that was not escaped arrives as a space.
        moment = parse_datetime(str(text).replace(" ", "+") if "T" in str(text) else str(text))
    except ValueError:
        return None
    return moment if moment is not None and 1900 <= moment.year <= 9000 else None


class MomentField(forms.Field):
    """An ISO 8601 time; without a zone it is in the project's."""

    widget = MomentInput(attrs={"step": 1})
    default_error_messages = {"invalid": _("This is not a time: write 2026-01-31T14:30.")}

    def to_python(self, value: Any) -> datetime | None:
        if not value:
            return None
        moment = _read_moment(value)
        if moment is None:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


class MomentFilter(django_filters.Filter):
    field_class = MomentField


class WholeNumberFilter(django_filters.Filter):
    field_class = forms.IntegerField


def text_filter(
    field_name: str,
    label: Any,
    lookup_expr: str = "exact",
    max_length: int = TEXT_MAX_LENGTH,
    **attributes: str,
) -> Any:
    widget = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", **attributes})
    return django_filters.CharFilter(
        field_name=field_name,
        lookup_expr=lookup_expr,
        label=label,
        max_length=max_length,
        widget=widget,
    )


def moment_filter(field_name: str, lookup_expr: str, label: Any) -> Any:
    return MomentFilter(field_name=field_name, lookup_expr=lookup_expr, label=label)


def priority_filter(lookup_expr: str, label: Any) -> Any:
    return WholeNumberFilter(
        field_name="priority",
        lookup_expr=lookup_expr,
        label=label,
        min_value=-PRIORITY_LIMIT,
        max_value=PRIORITY_LIMIT,
    )


class JobFilterForm(forms.Form):
    """Turns what an operator typed into what the criteria take, or says why it cannot."""

    def clean_worker(self) -> list[int] | str:
        name = self.cleaned_data["worker"]
        if not name:
            return ""
        if name.isascii() and name.isdigit() and len(name) < 19:
            return [int(name)]
        workers = Worker.objects.filter(name=name).values_list("pk", flat=True)[:WORKERS_MAX]
        if not workers:
            raise forms.ValidationError(_("No worker of this name is known."))
        return list(workers)

    def clean_task(self) -> list[str] | str:
        """A dotted path, or a function's name, which several jobs may share."""
        name = self.cleaned_data["task"]
        if not name:
            return ""
        tasks = {task for job in get_definitions().values() for task in job.tasks}
        return sorted({name, *(task for task in tasks if task.rpartition(".")[2] == name)})

    def clean_id(self) -> list[UUID] | str:
        """Whole ids as people paste them: one, or several with commas, spaces or lines between."""
        texts = re.split(r"[\s,;]+", self.cleaned_data["id"].strip(" \t\r\n,;"))
        if texts == [""]:
            return ""
        if len(texts) > IDS_MAX:
            raise forms.ValidationError(_("At most %(limit)d ids."), params={"limit": IDS_MAX})
        return [_read_id(text) for text in texts]

    def clean_unique_key(self) -> str:
        return self._refuse_secret(self.cleaned_data["unique_key"])

    def clean_error(self) -> str:
        return self._refuse_secret(self.cleaned_data["error"])

    def clean_workspace(self) -> list[Any] | str:
        text = self.cleaned_data["workspace"]
        if not text:
            return ""
        path, separator, value = text.partition("=")
        keys = _read_path(path.strip())
        if not separator or not all(keys) or len(keys) > PATH_MAX_KEYS:
            raise forms.ValidationError(_("Write a path and a value: customer.id = 42."))
        expected = _read_value(value.strip())
        # An equal value would be an answer about something that is never shown.
        if any(map(masking.is_secret_key, keys)):
            raise forms.ValidationError(_("What is masked cannot be searched for."))
        for shown in (*keys, expected):
            if isinstance(shown, str):
                self._refuse_secret(shown)
        return [keys, expected]

    def _refuse_secret(self, text: str) -> str:
        if masking.MASK in text or masking.mask_text(text) != text:
            raise forms.ValidationError(_("What is masked cannot be searched for."))
        return text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        sort, states = cleaned.get("sort"), set(cleaned.get("state") or ())
        if sort == "priority" and not cleaned.get("queue"):
            self.add_error("sort", _("The turn of a job is among those of its queue: choose a queue."))
        if sort in ("priority", "due") and states - {State.NEW, State.READY}:
            self.add_error("sort", _("Only waiting jobs have a turn: leave New and Ready ticked."))
        if (sort, cleaned.get("when")) in (("priority", "scheduled"), ("due", "due")):
            self.add_error(
                "sort", _("What is scheduled has no turn yet, and what is due is no longer waited for.")
            )
        if sort in ("finished", "-finished") and states - set(FINISHED):
            self.add_error("sort", _("Only finished jobs have this time: leave their states ticked."))
        return cleaned


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        message = _("“%(text)s” is no id: write whole ones, with commas or spaces between.")
        raise forms.ValidationError(message, params={"text": text[:50]}) from None


def _read_path(text: str) -> list[str]:
    """customer.id, items[0].sku, or a JSON Pointer, /customer/id."""
    if text.startswith("/"):
        return masking.split_pointer(text)
    return text.replace("[", ".").replace("]", "").split(".")


def _read_value(text: str) -> Any:
    """A number, true, false, null or "text" as JSON has them; anything else is a text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


class JobFilter(django_filters.FilterSet):
    """The filters of the job list; also how a query string says which jobs a bulk act means."""

    state = django_filters.MultipleChoiceFilter(
        field_name="state",
        lookup_expr="in",
        label=_("State"),
        choices=State.choices,
        widget=forms.CheckboxSelectMultiple,
    )
    queue = text_filter("queue_name", _("Queue"), list="queue-names")
    name = text_filter("name", _("Name"), list="job-names")
    task = text_filter("next_task", _("Task"), "in", list="task-names")
    error = text_filter("error_message", _("Text in the error"), "icontains")
    error_type = text_filter("error_type", _("Error"), placeholder="ValueError")
    workspace = text_filter("workspace", _("Workspace"), "path", placeholder="customer.id = 42")
    when = django_filters.ChoiceFilter(
        field_name="lane", label=_("Due"), choices=list(WHEN.items()), empty_label=_("Any time")
    )
    worker = text_filter("worker_id", _("Running on"), "in", list="worker-names")
    priority_min = priority_filter("gte", _("Priority from"))
    priority_max = priority_filter("lte", _("Priority to"))
    created_after = moment_filter("created", "gte", _("Created from"))
    created_before = moment_filter("created", "lt", _("Created before"))
    finished_after = moment_filter("finished", "gte", _("Finished from"))
    finished_before = moment_filter("finished", "lt", _("Finished before"))
    unique_key = text_filter("unique_key", _("Unique key"))
    id = text_filter("id", _("Ids"), "in", max_length=IDS_MAX * 40)
    fingerprint = text_filter("fingerprint", _("Failure group"))
    sort = django_filters.ChoiceFilter(
        label=_("Order"), choices=list(SORTS.items()), empty_label=_("By itself")
    )

    class Meta:
        model = Job
        fields: list[str] = []
        form = JobFilterForm

    def __init__(self, data: Any, queryset: QuerySet | None = None, **kwargs: Any) -> None:
        super().__init__(data, queryset if queryset is not None else Job.objects.all(), **kwargs)

    @property
    def qs(self) -> QuerySet:
        """The jobs that match; none while a filter is not understood."""
        if not self.is_valid():
            return self.queryset.none()
        return apply(self.queryset, self.criteria)

    @cached_property
    def criteria(self) -> Criteria:
        """What the filters mean, as data that can be kept."""
        if not self.is_valid():
            return []
        return check([self._make_criterion(name) for name in self.active])

    def _make_criterion(self, name: str) -> Criterion:
        value = self.form.cleaned_data[name]
        if name == "when":
            value = int(Lane.CLAIMABLE if value == "due" else Lane.WAITING)
        declared = self.filters[name]
        if name == "id" and len(value) == 1:
            return [declared.field_name, "exact", value[0]]
        return [declared.field_name, declared.lookup_expr, value]

    @cached_property
    def active(self) -> list[str]:
        """The filters that are set, the order of the list left aside."""
        values = self.form.cleaned_data if self.is_valid() else {}
        return [name for name in self.filters if name != "sort" and values.get(name) not in (None, "", [])]

    @cached_property
    def querystring(self) -> str:
        """The filters alone, without the place in the list: the same jobs for everyone who opens it."""
        pairs = [
            (name, value)
            for name in self.filters
            for value in self.data.getlist(name)[:20]
            if value and name != "sort"
        ]
        return urlencode(pairs)

    @property
    def has_own_order(self) -> bool:
        """Whether somebody asked for an order."""
        return self.is_valid() and bool(self.form.cleaned_data.get("sort"))

    @property
    def order(self) -> str:
        """The order asked for, or the one that suits what is shown."""
        values = self.form.cleaned_data if self.is_valid() else {}
        states = set(values.get("state") or ())
        if values.get("sort"):
            return values["sort"]
        if values.get("when") == "scheduled":
            return "due"
        return "-finished" if states and states <= set(FINISHED) else "-created"


def parse_querystring(text: str) -> JobFilter:
    """The filter that a query string stands for."""
    return JobFilter(QueryDict(text))


def list_names() -> dict[str, list[str]]:
    """What settings.JOBS offers as suggestions: names and tasks."""
    jobs = get_definitions()
    return {
        "job_names": sorted(jobs),
        "task_names": sorted({task for job in jobs.values() for task in job.tasks}),
    }
