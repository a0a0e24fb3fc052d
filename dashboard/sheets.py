"""A form or a confirmation: a page of its own, or, for a browser with scripts, a sheet over the page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard.access import is_fragment


def show_sheet(
    request: HttpRequest, fragment: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """Show _fragments/<fragment>.html alone to htmx, and in a page with its heading to everybody else.

    The context must hold `heading`, and may hold `page` (the place in the navigation) and `back`.
    """
    template = f"dbq/_fragments/{fragment}.html"
    if is_fragment(request):
        return render(request, template, {**context, "is_sheet": True}, status=status)
    return render(request, "dbq/sheet.html", {**context, "fragment": template}, status=status)
