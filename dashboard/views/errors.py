"""What an address that leads nowhere and a form that is not ours are answered with."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard.access import allow, is_fragment


@allow()
def nothing_here(request: HttpRequest) -> HttpResponse:
    """For every address below the console's that is none of its own."""
    raise Http404


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """For the project's CSRF_FAILURE_VIEW: the form was old, or came from elsewhere."""
    template = "dbq/_fragments/_csrf.html" if is_fragment(request) else "dbq/csrf.html"
    response = render(request, template, status=403)
    response["X-Dbq-Words"] = "1"
    return response
