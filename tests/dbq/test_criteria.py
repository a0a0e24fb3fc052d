"""Filters as data: only what is offered, the same on every database."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from dbq import criteria
from dbq.exceptions import InvalidCriteria
from dbq.models import Job
from dbq.states import Lane

# MariaDB does not tell 1 from "1" within a document.
NUMBERS_AS_TEXT = {"one", "text"} if connection.vendor == "mysql" else set()
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        "state=FAILED",
        {"state": "FAILED"},
        [["state"]],
        [["state", "exact"]],
        [["state", "startswith", "F"]],
        [["state", "exact", "GONE"]],
        [["state", "in", "FAILED"]],
        [["workspace__token", "startswith", "a"]],
        [["workspace", "contains", {}]],
        [["worker__host", "exact", "a"]],
        [["attempts__traceback", "icontains", "a"]],
        [[["state"], "exact", "NEW"]],
        [["state", ["exact"], "NEW"]],
        [["created", "gte", "yesterday"]],
        [["created", "gte", "2026-01-31T12:00:00"]],
        [["priority", "gte", "5"]],
        [["priority", "gte", True]],
        [["worker_id", "exact", 2**63]],
        [["id", "exact", "1"]],
        [["id", "in", 5]],
        [["name", "exact", "a\0"]],
        [["name", "exact", "x" * 501]],
        [["name", "in", ["a"] * 10_001]],
        [["workspace", "path", "a"]],
        [["workspace", "path", [[], 1]]],
        [["workspace", "path", ["a", 1]]],
        [["workspace", "path", [["a"] * 21, 1]]],
        [["workspace", "path", [["a"], {"b": 1}]]],
        [["workspace", "path", [['a"b'], 1]]],
        [["workspace", "path", [["api_token"], "x"]]],
        [["workspace", "path", [["a", "password", "b"], "x"]]],
        [["name", "exact", "a"]] * 41,
    ],
)
def test_what_is_not_offered_is_refused(wrong):
    with pytest.raises(InvalidCriteria):
        criteria.check(wrong)
    with pytest.raises(InvalidCriteria):
        criteria.apply(Job.objects.all(), wrong)


def test_criteria_survive_json():
    kept = criteria.check(
        [
            ("state", "in", ("NEW", "READY")),
            ("created", "gte", NOW),
            ("workspace", "path", [["a", "b"], 1.5]),
        ]
    )
    assert kept == [
        ["state", "in", ["NEW", "READY"]],
        ["created", "gte", "2026-01-31T12:00:00+00:00"],
        ["workspace", "path", [["a", "b"], 1.5]],
    ]
    assert criteria.check(kept) == kept


def test_criteria_are_told_in_words(settings):
    settings.TIME_ZONE = "UTC"
    told = criteria.describe(
        [
            ["state", "in", ["FAILED", "CANCELLED"]],
            ["queue_name", "exact", "mail"],
            ["created", "lt", NOW],
            ["priority", "gte", 5],
            ["workspace", "path", [["customer", "id"], "42"]],
            ["id", "in", ["019c0000-0000-7000-8000-000000000000"] * 2],
        ]
    )
    assert told == [
        "state is Failed, Cancelled",
        "queue is mail",
        "created before 2026-01-31 12:00:00 UTC",
        "priority ≥ 5",
        'workspace customer.id = "42"',
        "2 chosen jobs",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("criterion", "found"),
    [
        (["workspace", "path", [["n"], 1]], {"one"} | NUMBERS_AS_TEXT),
        (["workspace", "path", [["n"], "1"]], {"text"} | NUMBERS_AS_TEXT),
        (["workspace", "path", [["n"], True]], {"true"}),
        (["workspace", "path", [["n"], None]], {"null"}),
        (["workspace", "path", [["deep", "er", "x"], 2]], {"deep"}),
        (["workspace", "path", [["items", "0", "sku"], "A"]], {"list"}),
        (["workspace", "path", [["startswith"], "s"]], {"odd"}),
        (["workspace", "path", [["a__b"], 1]], {"odd"}),
        (["workspace", "path", [["a'b c"], 1]], {"odd"}),
        (["workspace", "path", [["absent"], 1]], set()),
        (["name", "exact", "edit"], {"one", "text", "true", "null", "deep", "list", "odd"}),
        (["unique_key", "in", ["one", "odd"]], {"one", "odd"}),
        (["priority", "gt", 0], {"odd"}),
        (["lane", "exact", Lane.WAITING], {"deep"}),
        (["state", "exact", "NEW"], {"one", "text", "true", "null", "deep", "list", "odd"}),
        (["state", "in", ["FAILED", "NEW"]], {"one", "text", "true", "null", "deep", "list", "odd"}),
        (["state", "in", ["PROCESSING"]], set()),
        (["state", "in", ["READY", "COMPLETED"]], set()),
        (["run_after", "gte", NOW], {"deep"}),
    ],
)
def test_criteria_find_the_same_jobs_on_every_database(criterion, found):
    workspaces = {
        "one": {"n": 1},
        "text": {"n": "1"},
        "true": {"n": True},
        "null": {"n": None},
        "deep": {"deep": {"er": {"x": 2}}},
        "list": {"items": [{"sku": "A"}]},
        "odd": {"startswith": "s", "a__b": 1, "a'b c": 1},
    }
    for key, workspace in workspaces.items():
        Job.objects.create(
            name="edit",
            workspace=workspace,
            unique_key=key,
            priority=int(key == "odd"),
            run_after=datetime.now(UTC) + timedelta(days=1) if key == "deep" else None,
        )
    jobs = criteria.apply(Job.objects.all(), [criterion])
    assert set(jobs.values_list("unique_key", flat=True)) == found
    assert jobs.count() == len(found)
