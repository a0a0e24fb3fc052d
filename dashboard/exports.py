"""The jobs of a filter as CSV or JSON lines: streamed, masked, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from dashboard.filters import JobFilter
from dashboard.queries.jobs import LISTED, JobSearch
from dbq.masking import mask, mask_text
from dbq.models import Job

CHUNK = 500
ROWS_MAX = 1_000_000
# A spreadsheet takes a text that begins like this for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")
COLUMNS = (
    "id",
    "name",
    "queue_name",
    "state",
    "priority",
    "next_task",
    "attempt",
    "created",
    "run_after",
    "started",
    "finished",
    "unique_key",
    "error_type",
    "error_message",
    "progress",
    "workspace",
)


def find_jobs(job_filter: JobFilter) -> Iterator[Job]:
    """All that match, page after page, up to the bound; nothing is held in memory."""
    search = JobSearch(job_filter, size=CHUNK, columns=(*LISTED, "workspace"))
    after, left = "", ROWS_MAX
    while left > 0:
        page = search.find_page(after=after)
        yield from page.rows[:left]
        left -= len(page.rows)
        after = page.next
        if not after:
            return


def make_record(job: Job) -> dict[str, Any]:
    """What an export says about a job, with the secrets hidden."""
    record = {column: getattr(job, column) for column in COLUMNS}
    record["error_message"] = mask_text(job.error_message)
    record["unique_key"] = mask_text(job.unique_key or "")
    record["progress"] = mask(job.progress)
    record["workspace"] = mask(job.workspace)
    return {column: _make_plain(value) for column, value in record.items()}


def _make_plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | dict | list | None) else str(value)


def write_json_lines(jobs: Iterable[Job]) -> Iterator[str]:
    for job in jobs:
        yield json.dumps(make_record(job), ensure_ascii=False) + "\n"


def write_csv(jobs: Iterable[Job]) -> Iterator[str]:
    """RFC 4180, with a byte-order mark so that spreadsheets read UTF-8."""
    writer = csv.writer(_Echo(), lineterminator="\r\n")
    yield "\ufeff" + writer.writerow(COLUMNS)
    for job in jobs:
        yield writer.writerow([disarm(value) for value in make_record(job).values()])


class _Echo:
    """What csv takes for a file: it hands back the line instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def disarm(value: Any) -> Any:
    """A cell that no spreadsheet runs: a text that begins like a formula gets a quote before it."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if value is None or not isinstance(value, str):
        return "" if value is None else value
    return f"'{value}" if value.lstrip(" ").startswith(FORMULA_STARTS) else value


FORMATS: dict[str, tuple[str, str, Callable[[Iterable[Job]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", "jobs.csv", write_csv),
    "jsonl": ("application/x-ndjson; charset=utf-8", "jobs.jsonl", write_json_lines),
}
