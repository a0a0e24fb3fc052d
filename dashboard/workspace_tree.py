"""A workspace as the lines of a tree: masked, bounded, searchable, and flat enough for a fast template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from dbq.masking import MASK, split_pointer

# Lines that one page draws, and items of one object or list.
LINES_MAX = 600
ITEMS_MAX = 50
ITEMS_MAX_WHEN_ASKED = 500
TEXT_MAX = 400
# Objects and lists with more items begin folded, and so does everything deeper than this.
OPEN_ITEMS_MAX = 12
OPEN_DEPTH_MAX = 2


@dataclass(frozen=True)
class Line:
    """One line: `open` begins an object or list, `close` ends it, `leaf` is a value, `more` is the rest."""

    step: str
    key: str = ""
    path: str = ""
    pointer: str = ""
    kind: str = ""
    text: str = ""
    # How it is copied; and how large it is, in words.
    value: str = ""
    size: str = ""
    is_open: bool = False
    is_found: bool = False


@dataclass(frozen=True)
class Tree:
    lines: list[Line]
    # How many keys and values have the text that was searched for.
    found: int
    # Whether lines were left out for their number.
    is_cut: bool


def make_tree(workspace: dict, *, find: str = "", opened: str = "") -> Tree:
    """The lines of a masked workspace.

    Args:
        workspace: masked already.
        find: show only what has this text in its key or value, with what is around it.
        opened: a JSON Pointer; the object or list there is shown with more of its items.
    """
    grower = _Grower(find.casefold().strip(), split_pointer(opened))
    lines = list(grower.grow(workspace))
    return Tree(lines, grower.found, grower.is_cut)


def write_path(parts: list[str | int]) -> str:
    """A place as people write it: customer.items[0].id"""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def measure(value: Any) -> str:
    """How large a value is, in the words of its kind."""
    if isinstance(value, dict):
        return _("%(n)s keys") % {"n": f"{len(value):,}"} if len(value) != 1 else _("1 key")
    if isinstance(value, list):
        return _("%(n)s items") % {"n": f"{len(value):,}"} if len(value) != 1 else _("1 item")
    return _("%(n)s characters") % {"n": f"{len(value):,}"} if isinstance(value, str) else ""


def write_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Grower:
    def __init__(self, find: str, opened: list[str]) -> None:
        self.find = find
        self.opened = opened
        self.found = 0
        self.is_cut = False
        self._left = LINES_MAX

    def grow(self, workspace: dict) -> Iterator[Line]:
        yield from self._grow_items(workspace, [])

    def _grow_items(self, container: Any, path: list[str | int]) -> Iterator[Line]:
        items = container.items() if isinstance(container, dict) else enumerate(container)
        is_opened = [str(part) for part in path] == self.opened and bool(self.opened)
        limit = ITEMS_MAX_WHEN_ASKED if is_opened else ITEMS_MAX
        shown = 0
        for key, value in items:
            if self.find and not self._has_found(key, value):
                continue
            if shown == limit or self._left <= 0:
                self.is_cut = True
                yield self._make_more(container, path, shown)
                return
            shown += 1
            yield from self._grow_one(key, value, [*path, key])

    def _grow_one(self, key: str | int, value: Any, path: list[str | int]) -> Iterator[Line]:
        self._left -= 1
        is_found = bool(self.find) and self._matches(key, value)
        self.found += is_found
        line: dict[str, Any] = {
            "key": str(key),
            "path": write_path(path),
            "pointer": write_pointer(path),
            "kind": name_kind(value),
            "size": measure(value),
            "is_found": is_found,
        }
        if not isinstance(value, dict | list):
            yield Line("leaf", text=shorten(value), value=copyable(value), **line)
        elif not value:
            yield Line("leaf", text="{}" if isinstance(value, dict) else "[]", value="{}", **line)
        else:
            yield Line("open", is_open=self._is_open(value, path), **line)
            yield from self._grow_items(value, path)
            yield Line("close")

    def _is_open(self, value: Any, path: list[str | int]) -> bool:
        names = [str(part) for part in path]
        if self.find or self.opened[: len(names)] == names:
            return True
        return len(value) <= OPEN_ITEMS_MAX and len(path) <= OPEN_DEPTH_MAX

    def _make_more(self, container: Any, path: list[str | int], shown: int) -> Line:
        left = len(container) - shown
        return Line("more", pointer=write_pointer(path), size=f"{left:,}")

    def _has_found(self, key: str | int, value: Any) -> bool:
        if self._matches(key, value):
            return True
        if isinstance(value, dict):
            return any(self._has_found(*item) for item in value.items())
        return isinstance(value, list) and any(self._has_found(*item) for item in enumerate(value))

    def _matches(self, key: str | int, value: Any) -> bool:
        if isinstance(key, str) and self.find in key.casefold():
            return True
        return not isinstance(value, dict | list) and self.find in copyable(value).casefold()


def write_pointer(path: list[str | int]) -> str:
    """The same place as a JSON Pointer."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def name_kind(value: Any) -> str:
    if value == MASK:
        return "masked"
    names = {dict: "object", list: "list", str: "text", bool: "truth", type(None): "null"}
    return names.get(type(value), "number")


def copyable(value: Any) -> str:
    return value if isinstance(value, str) else write_value(value)


def shorten(value: Any, limit: int = TEXT_MAX) -> str:
    """A value as JSON, its middle left out if it is long."""
    text = MASK if value == MASK else write_value(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
