"""Who may see and do what, asked in one place, on every request."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.utils.http import urlencode

from dashboard import snapshots
from dashboard.limits import TookTooLong
from dbq import operations
from dbq.verbs import VERBS

VIEW = "dbq.view_job"

View = Callable[..., HttpResponse]


def allow(*permissions: str, verb: str = "") -> Callable[[View], View]:
    """Let only operators in: logged in, with `dbq.view_job` and with these permissions as well.

    With `verb`, with the permission of that verb; an act that is refused for want of it is recorded.
    Outermost, so that nobody learns from a 405 or 404 what exists. It also answers for what every page
    has in common: no caching, no framing, our own pages for "not found" and "took too long".
    """
    if verb:
        permissions = (*permissions, VERBS[verb].permission)

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response = _refuse(request, permissions, verb, kwargs) or _answer(request, view, args, kwargs)
            if request.method == "POST":
                # Who acted looks at what came of it next.
                snapshots.forget()
            add_never_cache_headers(response)
            patch_vary_headers(response, ["HX-Request", "Cookie"])
            response.headers.setdefault("X-Frame-Options", "DENY")
            return response

        guarded.permissions = (VIEW, *permissions)  # type: ignore[attr-defined]
        return guarded

    return decorate


def _refuse(
    request: HttpRequest, permissions: tuple[str, ...], verb: str, kwargs: dict[str, Any]
) -> HttpResponse | None:
    user = request.user
    if not user.is_authenticated:
        return _ask_to_log_in(request)
    missing = [name for name in (VIEW, *permissions) if not user.has_perm(name)]
    if not missing:
        return None
    if verb and request.method == "POST":
        _record_refusal(request, verb, missing, kwargs)
    return show_refusal(request, missing)


def _record_refusal(request: HttpRequest, verb: str, missing: list[str], kwargs: dict[str, Any]) -> None:
    target = kwargs.get("name") or kwargs.get("pk")
    operations.refuse(
        operations.Actor.from_user(request.user),
        verb,
        # The number of a worker or an operation names nothing that the record knows of.
        None if isinstance(target, int) else target,
        message=f"The account lacks the permission {', '.join(missing)}.",
    )


def _ask_to_log_in(request: HttpRequest) -> HttpResponse:
    if not is_fragment(request):
        return redirect_to_login(request.get_full_path())
    # A login page swapped into a table helps nobody: send the whole browser there.
    here = get_htmx(request).current_url_abs_path or request.get_full_path()
    login = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': here})}"
    return HttpResponse(status=401, headers={"HX-Redirect": login})


def show_refusal(request: HttpRequest, missing: list[str]) -> HttpResponse:
    """Say which permission is missing."""
    return _show(request, "403", 403, {"missing": missing})


def _answer(request: HttpRequest, view: View, args: tuple, kwargs: dict) -> HttpResponse:
    try:
        return view(request, *args, **kwargs)
    except Http404 as error:
        return _show(request, "404", 404, {"reason": _get_reason(error)})
    except TookTooLong:
        return _show(request, "503", 503, {})


def _get_reason(error: Http404) -> str:
    """What a view said about it; Django's own technical words are left out."""
    return str(error.args[0]) if error.args and isinstance(error.args[0], str) else ""


def _show(request: HttpRequest, page: str, status: int, context: dict) -> HttpResponse:
    template = f"dbq/_fragments/_{page}.html" if is_fragment(request) else f"dbq/{page}.html"
    response = render(request, template, context, status=status)
    # Tells trouble.js our own words from the error page of a proxy.
    response["X-Dbq-Words"] = "1"
    return response


def is_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of a page; going back in history it wants all of it."""
    htmx = get_htmx(request)
    return bool(htmx) and not htmx.history_restore_request


def find_part(request: HttpRequest) -> str:
    """The id of the element that htmx wants filled; empty for a whole page."""
    return (get_htmx(request).target or "") if is_fragment(request) else ""


def get_htmx(request: HttpRequest) -> Any:
    """What django-htmx's middleware knows of the request."""
    return request.htmx  # type: ignore[attr-defined]
