"""What the console needs of the project it stands in, said when the project starts."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

APPS = ("django_filters", "django_htmx")
MIDDLEWARE = "django_htmx.middleware.HtmxMiddleware"
CONTEXT_PROCESSORS = (
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
)


@register
def check_project(**_: Any) -> list[Error]:
    """Name each app, middleware and context processor that the console's pages would miss."""
    problems = [
        Error(f'The dashboard needs "{app}" in INSTALLED_APPS.', id="dbq_dashboard.E001")
        for app in APPS
        if app not in settings.INSTALLED_APPS
    ]
    if MIDDLEWARE not in settings.MIDDLEWARE:
        problems.append(Error(f'The dashboard needs "{MIDDLEWARE}" in MIDDLEWARE.', id="dbq_dashboard.E002"))
    return problems + [
        Error(
            f'The dashboard needs the context processor "{name}" in TEMPLATES.',
            id="dbq_dashboard.E003",
        )
        for name in CONTEXT_PROCESSORS
        if name not in _list_context_processors()
    ]


def _list_context_processors() -> set[str]:
    engines: list[dict[str, Any]] = settings.TEMPLATES
    return {name for engine in engines for name in engine.get("OPTIONS", {}).get("context_processors", ())}
