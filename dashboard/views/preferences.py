"""Where a browser without scripts changes how it sees the console; scripts set the same cookies."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from dashboard import preferences
from dashboard.access import allow
from dashboard.acts import find_way_back


@allow()
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    return _keep(request, "theme")


@allow()
@require_POST
def refresh(request: HttpRequest) -> HttpResponse:
    return _keep(request, "refresh")


def _keep(request: HttpRequest, name: str) -> HttpResponse:
    response = redirect(find_way_back(request))
    preferences.write(request, response, name, request.POST.get("value", ""))
    return response
