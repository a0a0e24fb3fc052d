"""Downloads of what a filter matches."""

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from dashboard.access import allow
from dashboard.exports import FORMATS, find_jobs
from dashboard.filters import JobFilter
from dashboard.limits import TookTooLong
from dbq import operations


@allow()
@require_GET
def jobs_export(request: HttpRequest) -> Any:
    """The jobs that match, as CSV or JSON lines, masked, row by row as they are read."""
    name = request.GET.get("format", "csv")
    if name not in FORMATS:
        raise Http404(_("There is no such format; csv and jsonl are offered."))
    job_filter = JobFilter(request.GET)
    if not job_filter.is_valid():
        text = "\n".join(str(error) for errors in job_filter.errors.values() for error in errors)
        return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
    content_type, file_name, write = FORMATS[name]
    if request.method == "GET":
        # Before the first row leaves, however far the download gets.
        actor = operations.Actor.from_user(request.user)
        operations.record_export(actor, name, job_filter.criteria, job_filter.querystring)
    response = StreamingHttpResponse(_until_too_long(write(find_jobs(job_filter))), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _until_too_long(lines: Iterator[str]) -> Iterator[str]:
    """The head is sent already: what is left is to end the file, visibly."""
    try:
        yield from lines
    except TookTooLong:
        yield "# The database took too long; the export ends here.\n"
