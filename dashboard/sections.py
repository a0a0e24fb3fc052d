"""A part of a page: made within a time limit, or an honest message in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dashboard.limits import SECONDS, TookTooLong, time_limit


def take_section(ask: Callable[[], Any]) -> Any:
    """What `ask` returns, or None: for what is shared, and limits its time itself when it is made anew."""
    try:
        return ask()
    except TookTooLong:
        return None


def make_section(make: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `make` returns, or None if the database took too long: the template then says so."""
    try:
        with time_limit(seconds):
            return make()
    except TookTooLong:
        return None
