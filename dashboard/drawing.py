"""Components drawn once and shown many times.

A list has hundreds of badges, of a dozen kinds, and as many times: drawing each anew took a third of a
page's time. While templates are being written, in DEBUG, each is drawn anew.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.translation import get_language

from dashboard import looks
from dashboard.task_strip import Progress

# Where a text belongs in a component that is drawn without it.
BLANK = re.compile("\0([a-z_]+)\0")


def draw(component: str, **context: Any) -> str:
    """Draw what comes in few kinds: once for each, in each language."""
    return _pick(_draw_once)(component, get_language(), tuple(context.items()))


def draw_state(value: object, note: str = "") -> str:
    """Draw the badge of a state, or of anything that has a look."""
    return _pick(_draw_state)(get_language(), type(value), value, note)


def draw_light(level: str) -> str:
    """Draw how a queue is doing."""
    return _pick(_draw_light)(get_language(), level)


def draw_progress(progress: Progress | None) -> str:
    """Draw how far a task says it is; nothing if it says nothing."""
    if progress is None:
        return ""
    return render_to_string("dbq/components/_strip_progress.html", {"progress": progress})


def fill(component: str, flags: dict[str, bool], **texts: str) -> str:
    """Draw what is never the same: once for all with these flags, with blanks for the texts, and fill them.

    Its template decides by the flags, and writes the texts as they come.
    """
    blank = _pick(_draw_blank)
    return format_html(blank(component, get_language(), tuple(flags.items()), tuple(texts)), **texts)


def _pick(drawer: Any) -> Any:
    """The function itself where templates are being written, and must be read anew."""
    return drawer.__wrapped__ if settings.DEBUG else drawer


@lru_cache(maxsize=1024)
def _draw_once(component: str, language: str | None, context: tuple[tuple[str, Any], ...]) -> str:
    return render_to_string(f"dbq/components/_{component}.html", dict(context))


@lru_cache(maxsize=256)
def _draw_state(language: str | None, kind: type, value: Any, note: str) -> str:
    look = looks.find_look(value)
    return draw("state", tone=look.tone, icon=look.icon, word=str(look.word), note=note)


@lru_cache(maxsize=64)
def _draw_light(language: str | None, level: str) -> str:
    look = looks.LIGHTS.get(level, looks.UNKNOWN)
    return draw("light", tone=look.tone, icon=look.icon, word=str(look.word))


@lru_cache(maxsize=512)
def _draw_blank(
    component: str, language: str | None, flags: tuple[tuple[str, bool], ...], names: tuple[str, ...]
) -> str:
    """The markup as a format, with the names of the texts where they stand."""
    blanks = {name: f"\0{name}\0" for name in names}
    markup = render_to_string(f"dbq/components/_{component}.html", {**dict(flags), **blanks}).strip()
    markup = markup.replace("{", "{{").replace("}", "}}")
    return BLANK.sub(r"{\1}", markup)
