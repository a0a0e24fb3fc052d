"""How the console writes states, times and numbers. No markup is written here: it is in components/."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django import template
from django.conf import settings
from django.forms import BoundField
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from dashboard import durations, looks, numbers, preferences
from dashboard.addresses import shorten_id, write_address
from dashboard.drawing import draw, draw_light, draw_progress, draw_state, fill
from dashboard.task_strip import Strip
from dbq.conf import get_configuration
from dbq.states import State
from dbq.verbs import get_short_name

# A part of a name with the signs behind it, where a reader expects a line to end.
NAME_PART = re.compile(r"[^.:_-]*[.:_-]+|[^.:_-]+")
UNBROKEN_MAX_LENGTH = 30
ERROR_LENGTH, ERROR_BRIEF_LENGTH = 500, 140
FIELD = "dbq/_fragments/_field.html"

# The fields of the job filter that nothing was entered in, by language and name.
_empty_fields: dict[tuple[str | None, str], str] = {}

register = template.Library()


@register.simple_tag
def icon(name: str, label: str = "") -> str:
    """Draw an icon; without a label it is decoration and stays silent."""
    return draw("icon", name=name, label=str(label))


@register.simple_tag
def state(value: object, note: str = "") -> str:
    """Show the state of a job, attempt or operation as a badge: icon, word, colour."""
    return draw_state(value, str(note))


@register.simple_tag
def strip_line(strip: Strip) -> str:
    """Show the tasks of a job in one line: 2 of 3 · scan → parse → report."""
    return draw("strip_line", strip=replace(strip, progress=None))


@register.simple_tag
def filter_field(field: BoundField) -> str:
    """Show a field of the job filter; an empty one is the same for everybody, and most are."""
    if field.value() or field.errors:
        return render_to_string(FIELD, {"field": field})
    key = (get_language(), field.html_name)
    if key not in _empty_fields or settings.DEBUG:
        _empty_fields[key] = render_to_string(FIELD, {"field": field})
    return _empty_fields[key]


@register.simple_tag
def light(level: str) -> str:
    """Show how a queue is doing: good, paused, warning or alarm."""
    return draw_light(level)


@register.simple_tag
def moment(value: datetime | None, empty: str = "–") -> str:
    """Show a time as its distance from now, with the exact one on hover and for machines."""
    if value is None:
        return draw("none", text=empty)
    return fill("moment", {}, iso=value.isoformat(), exact=exact(value), distance=distance(value))


@register.simple_tag
def number(value: Any) -> str:
    """Show a count with its quality: exact, "50k+" or "≈"."""
    if not value:
        return draw("none", text="–" if value is None else str(value))
    known = value if isinstance(value, numbers.Number) else numbers.Number(value)
    return fill("number", {}, quality=known.quality.value, explanation=known.explanation, text=str(known))


@register.simple_tag
def job_row(row: Any, bulk_verbs: object, way_back: str) -> str:
    """Show one job of the list; a page has thirty, of few shapes."""
    job = row.job
    flags = {
        "has_tick": bool(bulk_verbs),
        "has_error": bool(row.error),
        "has_reason": bool(row.reason),
        "is_asked_to_end": job.cancel_requested,
        "has_priority": bool(job.priority),
        "has_started": job.started is not None,
        "has_finished": job.finished is not None,
        "is_running": job.started is not None and job.state == State.PROCESSING,
        "can_retry": row.can_retry,
    }
    return fill(
        "job_row",
        flags,
        pk=str(job.pk),
        short_id=row.short_id,
        name=job.name,
        address=row.address,
        error=cut(row.error, ERROR_LENGTH),
        error_brief=cut(row.error, ERROR_BRIEF_LENGTH),
        error_type=job.error_type,
        state=state(job.state),
        reason=row.reason.text if row.reason else "",
        reason_brief=row.reason.brief if row.reason else "",
        reason_level=row.reason.level if row.reason else "",
        strip=strip_line(row.strip),
        progress=draw_progress(row.strip.progress),
        queue_name=job.queue_name,
        priority=str(job.priority),
        created=moment(job.created),
        finished=moment(job.finished),
        took=until(job.finished, job.started),
        retry_address=write_address("dbq:job-retry", job.pk) if row.can_retry else "",
        way_back=way_back,
    )


def cut(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis: at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


@register.tag
def draw_once(parser: template.base.Parser, token: template.base.Token) -> DrawnOnce:
    """Draw a part of a page for all who see one snapshot: {% draw_once snapshot.drawn "part" other… %}.

    The others are what else the part depends on. It must hold nothing of one reader's, such as a token.
    """
    _tag, *parts = token.split_contents()
    if len(parts) < 2:
        raise template.TemplateSyntaxError(
            "draw_once needs what a snapshot keeps of it, and the part's name."
        )
    nodelist = parser.parse(("enddraw_once",))
    parser.delete_first_token()
    return DrawnOnce(nodelist, *map(parser.compile_filter, parts))


class DrawnOnce(template.Node):
    def __init__(self, nodelist: template.NodeList, kept: Any, *others: Any) -> None:
        self.nodelist = nodelist
        self.kept = kept
        self.others = others

    def render(self, context: template.Context) -> Any:
        kept = self.kept.resolve(context)
        others = (other.resolve(context) for other in self.others)
        key = (get_language(), timezone.get_current_timezone_name(), *others)
        if key not in kept:
            kept[key] = self.nodelist.render(context)
        return kept[key]


@register.simple_tag
def look(value: object) -> looks.Look:
    """The word, icon and tone of a state, for a template that draws its own shape."""
    return looks.find_look(value)


@register.filter
def duration(seconds: float | None) -> str:
    """Write seconds as 4 ms, 1.2 s, 3 min, 2 h 5 min."""
    return durations.describe(seconds)


@register.filter
def until(finished: datetime | None, started: datetime | None) -> str:
    """Write the time from `started` to `finished`, or to now if it goes on."""
    if started is None:
        return "–"
    return durations.describe(((finished or timezone.now()) - started).total_seconds())


@register.filter
def distance(value: datetime) -> str:
    """Say how far a moment is from now: 3 min ago, in 2 h."""
    return durations.describe_distance(value)


@register.filter
def exact(value: datetime) -> str:
    """Write a moment in full, in the project's time zone and with its name."""
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname() or ''}".strip()


@register.filter
def short_id(value: object) -> str:
    """The last eight digits of an id: the first ones only tell the time."""
    return shorten_id(value)


@register.filter
def name_parts(name: str) -> list[str]:
    """A long name in the parts between which a line may end; a short one is whole."""
    return NAME_PART.findall(name) if len(name) > UNBROKEN_MAX_LENGTH else [name]


@register.filter
def bytes_size(value: float | None) -> str:
    """Write a size: 512 B, 14 kB, 1.2 MB."""
    if value is None:
        return "–"
    for unit, size in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if value >= size:
            scaled = value / size
            return f"{scaled:.1f} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return f"{value:.0f} B"


@register.simple_tag(takes_context=True)
def preference(context: template.Context, name: str) -> str:
    """What this browser chose: `theme` or `refresh`."""
    return preferences.read(context["request"], name)


@register.simple_tag
def environment() -> str:
    """What the project calls the place it runs in, or an empty text."""
    return get_configuration().ENVIRONMENT


@register.simple_tag
def address(*names: str) -> str:
    """The first of these URL names that the project has, or an empty text."""
    for name in names:
        try:
            return reverse(name)
        except NoReverseMatch:
            continue
    return ""


@register.filter
def route(value: UUID | str, name: str) -> str:
    """The address of a route for one of many rows."""
    return write_address(name, value)


@register.filter
def since(value: datetime) -> str:
    """How long ago a moment was, as a length in one unit: 12 min."""
    return durations.describe_coarsely(max(0.0, (timezone.now() - value).total_seconds()))


@register.filter
def rate(value: float) -> str:
    """Write a number of jobs a minute: 0 · 0.4 · 12 · 1.2k."""
    if 0 < value < 10:
        return numbers.group(round(value, 1)) if value >= 0.1 else "<0.1"
    return numbers.shorten(round(value))


@register.filter
def group(value: float) -> str:
    """Write a number in full, with separators."""
    return numbers.group(value)


@register.filter
def shorten(value: float) -> str:
    """Write a number in few characters: 9,999 · 50k · 1.2M."""
    return numbers.shorten(value)


@register.filter
def short_task(path: str) -> str:
    """The function's name: what people call a task."""
    return get_short_name(path)


@register.filter
def age(seconds: float) -> str:
    """Say how old a figure is: as of now · 8 s old."""
    if seconds < 1:
        return _("as of now")
    return _("%(duration)s old") % {"duration": durations.describe(int(seconds))}
