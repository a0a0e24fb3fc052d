"""Which jobs are meant, as plain data: what a filter was when an operator confirmed it.

Criteria are a list of `[field, lookup, value]`, all of which hold. Only the pairs in LOOKUPS exist,
so nothing that comes from a form or from a row can reach another column, follow a relation or ask
the workspace more than whether a value that is not masked equals another. They can be stored, shown
as words, and applied by a process that knows no web.

    [["state", "in", ["FAILED"]], ["queue_name", "exact", "mail"], ["priority", "gte", 5]]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.db.models.fields.json import KeyTransform
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext, ngettext

from dbq.exceptions import InvalidCriteria
from dbq.masking import is_secret_key, mask_text
from dbq.models.job import Job
from dbq.querysets import JobQuerySet
from dbq.states import FINISHED, Lane, State

Criterion = list[Any]
Criteria = list[Criterion]

TEXT_MAX_LENGTH = 500
VALUES_MAX = 10_000
CRITERIA_MAX = 40
# SQLite does not find a key with a quotation mark in it.
PATH_PART = re.compile(r"""[^\0"\\]{1,200}""")


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX_LENGTH or "\0" in value:
        raise ValueError(f"a text of at most {TEXT_MAX_LENGTH} characters")
    return value


def _read_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise ValueError("a whole number")
    return value


def _read_state(value: Any) -> str:
    if value not in State.values:
        raise ValueError(f"one of {', '.join(State.values)}")
    return str(value)


def _read_lane(value: Any) -> int:
    if _read_number(value) not in Lane.values:
        raise ValueError(f"one of {Lane.values}")
    return value


def _read_moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else parse_datetime(_read_text(value))
    if moment is None or timezone.is_naive(moment):
        raise ValueError("a time with a zone")
    return moment


def _read_id(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(_read_text(value))


def _read_path(value: Any) -> list[Any]:
    """`[[key, key, …], value]`: where in the workspace, and what stands there."""
    try:
        path, expected = value
    except (TypeError, ValueError):
        raise ValueError("a path and a value") from None
    if not isinstance(path, list) or not 0 < len(path) <= 20:
        raise ValueError("a path of 1 to 20 keys")
    for part in path:
        if not isinstance(part, str) or not PATH_PART.fullmatch(part):
            raise ValueError("a path of keys without quotation marks")
    if isinstance(expected, dict | list):
        raise ValueError("a path and one plain value")
    if any(map(is_secret_key, path)):
        raise ValueError("a path to values that are not masked")
    if isinstance(expected, str):
        _read_text(expected)
    return [path, expected]


Reader = Callable[[Any], Any]

EQUAL = ("exact", "in")
RANGE = ("gte", "gt", "lte", "lt")

# What may be asked: the field, how its values are read, and the lookups it has.
LOOKUPS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "id": (_read_id, EQUAL),
    "name": (_read_text, EQUAL),
    "queue_name": (_read_text, EQUAL),
    "state": (_read_state, EQUAL),
    "lane": (_read_lane, EQUAL),
    "next_task": (_read_text, EQUAL),
    "priority": (_read_number, ("exact", *RANGE)),
    "attempt": (_read_number, ("exact", *RANGE)),
    "worker_id": (_read_number, EQUAL),
    "created": (_read_moment, RANGE),
    "enqueued": (_read_moment, RANGE),
    "started": (_read_moment, RANGE),
    "finished": (_read_moment, RANGE),
    "run_after": (_read_moment, RANGE),
    "error_type": (_read_text, EQUAL),
    "error_message": (_read_text, ("icontains",)),
    "fingerprint": (_read_text, EQUAL),
    "unique_key": (_read_text, EQUAL),
    "workspace": (_read_path, ("path",)),
}


def check(criteria: Any) -> Criteria:
    """Return criteria as JSON keeps them; raise InvalidCriteria for what is not offered."""
    return [[field, lookup, _dump(value)] for field, lookup, value in _read(criteria)]


def _read(criteria: Any) -> list[tuple[str, str, Any]]:
    if not isinstance(criteria, list | tuple) or len(criteria) > CRITERIA_MAX:
        raise InvalidCriteria(f"Criteria must be a list of at most {CRITERIA_MAX}.")
    return [_read_one(criterion) for criterion in criteria]


def _read_one(criterion: Any) -> tuple[str, str, Any]:
    try:
        field, lookup, value = criterion
        reader, lookups = LOOKUPS[field]
    except (TypeError, ValueError, KeyError):
        raise InvalidCriteria(f"{str(criterion)[:200]} is not a criterion.") from None
    if lookup not in lookups:
        raise InvalidCriteria(f'"{field}" has no lookup "{str(lookup)[:50]}".')
    try:
        if lookup == "in":
            return field, lookup, _read_many(reader, value)
        return field, lookup, reader(value)
    except (TypeError, ValueError) as error:
        raise InvalidCriteria(f'"{field}" takes {error}, not {str(value)[:100]!r}.') from None


def _read_many(reader: Reader, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError("a list")
    read = [reader(value) for value in values]
    if len(read) > VALUES_MAX:
        raise ValueError(f"at most {VALUES_MAX:,} values")
    return read


def _dump(value: Any) -> Any:
    if isinstance(value, list):
        return [_dump(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def apply(jobs: JobQuerySet, criteria: Any) -> JobQuerySet:
    """Narrow jobs down to those that meet all criteria; raise InvalidCriteria as `check` does."""
    for field, lookup, value in _read(criteria):
        if lookup == "path":
            jobs = _filter_path(jobs, *value)
        elif field == "state":
            jobs = jobs.filter(_make_state_condition(value if lookup == "in" else [value]))
        else:
            jobs = jobs.filter(**{f"{field}__{lookup}": value})
    return jobs


def _make_state_condition(states: list[str]) -> Q:
    """The states, and the lanes they lie in: the indexes are by lane."""
    condition = Q(state=states[0]) if len(states) == 1 else Q(state__in=states)
    if set(states) <= set(FINISHED):
        return condition & Q(lane=Lane.FINISHED)
    if set(states) == {State.PROCESSING}:
        return condition & Q(lane=Lane.RUNNING)
    if not set(states) & {*FINISHED, State.PROCESSING}:
        return condition & Q(lane__in=(Lane.CLAIMABLE, Lane.WAITING))
    return condition


def _filter_path(jobs: JobQuerySet, path: list[str], expected: Any) -> JobQuerySet:
    # Transforms, not a lookup string: a key may be called "startswith", or have "__" in it.
    value: Any = F("workspace")
    for key in path:
        value = KeyTransform(key, value)
    name = f"path_{len(jobs.query.annotations)}"
    return jobs.alias(**{name: value}).filter(**{name: expected})


def asks_for_text(criteria: Any) -> bool:
    """Whether a criterion searches within texts, of which parts are masked where they are shown."""
    return any(lookup == "icontains" for _, lookup, _ in _read(criteria))


def is_visible(job: Job, criteria: Any) -> bool:
    """Whether a job that meets the criteria does so by what is shown of it, not by what is not."""
    return all(
        value.casefold() in mask_text(getattr(job, field)).casefold()
        for field, lookup, value in _read(criteria)
        if lookup == "icontains"
    )


# In words


def describe(criteria: Any) -> list[str]:
    """Say each criterion as a phrase: "state is Failed", "created before 2026-01-01 00:00 UTC"."""
    return [_describe_one(*criterion) for criterion in _read(criteria)]


def _describe_one(field: str, lookup: str, value: Any) -> str:
    if lookup == "path":
        path, expected = value
        return f"{gettext('workspace')} {'.'.join(path)} = {json.dumps(expected, ensure_ascii=False)}"
    if field == "id" and lookup == "in":
        amount = len(value)
        return ngettext("%(amount)d chosen job", "%(amount)d chosen jobs", amount) % {"amount": amount}
    values = value if isinstance(value, list) else [value]
    shown = ", ".join(_describe_value(field, item) for item in values[:20])
    return f"{_get_field_words()[field]} {_get_lookup_words(field)[lookup]} {shown}"


def _describe_value(field: str, value: Any) -> str:
    if field == "state":
        return State(value).label
    if field == "lane":
        return Lane(value).label
    if isinstance(value, datetime):
        return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S %Z}"
    return str(value)


def _get_field_words() -> dict[str, str]:
    return {
        "id": gettext("id"),
        "name": gettext("name"),
        "queue_name": gettext("queue"),
        "state": gettext("state"),
        "lane": gettext("lane"),
        "next_task": gettext("task"),
        "priority": gettext("priority"),
        "attempt": gettext("attempt"),
        "worker_id": gettext("worker"),
        "created": gettext("created"),
        "enqueued": gettext("waiting since"),
        "started": gettext("started"),
        "finished": gettext("finished"),
        "run_after": gettext("scheduled for"),
        "error_type": gettext("error"),
        "error_message": gettext("error text"),
        "fingerprint": gettext("failure group"),
        "unique_key": gettext("unique key"),
    }


def _get_lookup_words(field: str) -> dict[str, str]:
    is_time = LOOKUPS[field][0] is _read_moment
    return {
        "exact": gettext("is"),
        "in": gettext("is"),
        "icontains": gettext("contains"),
        "gte": gettext("from") if is_time else "≥",
        "gt": gettext("after") if is_time else ">",
        "lte": gettext("until") if is_time else "≤",
        "lt": gettext("before") if is_time else "<",
    }
