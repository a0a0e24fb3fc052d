"""What a browser chose for itself, kept in its cookies and read on the server: no flash, no inline script."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

YEAR = 365 * 24 * 3600
# Set by live.js: this browser runs scripts, so slow parts of a page may follow it.
SCRIPT_COOKIE = "dbq_script"
ASKED_SECONDS = 1
# Of the time from one tick to the next, which may come a tenth early.
OF_PACE = 0.85
SHARED_SECONDS = 5


@dataclass(frozen=True)
class Preference:
    cookie: str
    choices: tuple[str, ...]
    default: str


PREFERENCES = {
    "theme": Preference("dbq_theme", ("system", "light", "dark"), "system"),
    # Seconds between two ticks of the page's clock; 0 is off.
    "refresh": Preference("dbq_refresh", ("0", "2", "5", "15", "60"), "5"),
}


def read(request: HttpRequest, name: str) -> str:
    """What the browser chose, or the default; never what it made up."""
    preference = PREFERENCES[name]
    value = request.COOKIES.get(preference.cookie, preference.default)
    return value if value in preference.choices else preference.default


def find_patience(request: HttpRequest) -> float:
    """How many seconds old an answer may be.

    To a page that refreshes itself one made for another viewer will do if it is younger than the page would
    be anyway; whoever asks by hand is given what is true now, or was a second ago.
    """
    if not request.headers.get("HX-Request"):
        return ASKED_SECONDS
    pace = float(read(request, "refresh"))
    return max(ASKED_SECONDS, min(pace * OF_PACE, SHARED_SECONDS))


def write(request: HttpRequest, response: HttpResponse, name: str, value: str) -> None:
    """Keep a choice; ignore what is none."""
    preference = PREFERENCES[name]
    if value in preference.choices:
        response.set_cookie(
            preference.cookie, value, max_age=YEAR, samesite="Lax", secure=request.is_secure()
        )
