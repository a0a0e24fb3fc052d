"""What runs changed in a workspace, as rows of path, before and after; masked."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jsonpatch
from django.utils.translation import gettext as _
from jsonpointer import JsonPointerException, resolve_pointer

from dashboard.workspace_tree import measure, shorten, write_path
from dbq import workspaces
from dbq.masking import mask_at, mask_text, split_pointer
from dbq.models import Attempt, Job
from dbq.workspaces import Patch

ROWS_MAX = 60
VALUE_MAX = 240


@dataclass(frozen=True)
class Change:
    """One place that changed. A side that is None was not there, or is not known."""

    verb: str
    path: str
    before: str | None = None
    after: str | None = None
    before_size: str = ""
    after_size: str = ""


@dataclass
class Changes:
    rows: list[Change] = field(default_factory=list)
    # How many there are besides.
    left_out: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows)


class Replay:
    """Walks a job's attempts from the workspace it was created with, so that each change has a before."""

    def __init__(self, job: Job, attempts: Iterable[Attempt], *, is_complete: bool = True) -> None:
        original = job.workspace if job.initial_workspace is None else job.initial_workspace
        self._workspace: Any = copy.deepcopy(original)
        # Without its first attempts, or of a round before the last requeue, only the changes are known.
        self._is_known = is_complete
        self._first_fence = job.round_fence
        self.changes: dict[int, Changes] = {}
        self.discarded: dict[int, Changes] = {}
        for attempt in attempts:
            self._walk(attempt)

    def _walk(self, attempt: Attempt) -> None:
        is_of_this_round = attempt.fence > self._first_fence
        if attempt.changes:
            self.changes[attempt.pk] = self._list(attempt.changes, is_of_this_round)
            if is_of_this_round:
                self._apply(attempt.changes)
        if attempt.discarded_changes:
            self.discarded[attempt.pk] = self._list(attempt.discarded_changes, is_of_this_round)

    def _apply(self, patch: Patch) -> None:
        if not self._is_known:
            return
        try:
            self._workspace = jsonpatch.apply_patch(self._workspace, patch, in_place=True)
        except (jsonpatch.JsonPatchException, JsonPointerException):
            # Its attempts were cut or edited in the database; from here on only the changes are known.
            self._is_known = False

    def _list(self, patch: Patch, is_of_this_round: bool) -> Changes:
        return list_patch(patch, self._workspace if self._is_known and is_of_this_round else _UNKNOWN)


_UNKNOWN: Any = object()


def list_patch(patch: Patch, before: Any = _UNKNOWN) -> Changes:
    """The steps of a patch as rows; with the document before it, each with what stood there."""
    if before is not _UNKNOWN and len(patch) > 1:
        # Later steps may stand on earlier ones.
        before = copy.deepcopy(before)
    listed = Changes()
    for position, step in enumerate(patch):
        rows = _list_step(step, before)
        listed.rows += rows[: ROWS_MAX - len(listed.rows)]
        if len(listed.rows) == ROWS_MAX:
            listed.left_out = len(patch) - position - 1 + max(0, len(rows) - ROWS_MAX)
            break
        if position + 1 < len(patch):
            before = _take_step(before, step)
    return listed


def _take_step(document: Any, step: dict[str, Any]) -> Any:
    if document is _UNKNOWN:
        return _UNKNOWN
    try:
        # A copy: the document takes the step's value in, and later steps change it there.
        return jsonpatch.apply_patch(document, [copy.deepcopy(step)], in_place=True)
    except (jsonpatch.JsonPatchException, JsonPointerException):
        return _UNKNOWN


def _list_step(step: dict[str, Any], before: Any) -> list[Change]:
    pointer = step.get("path", "")
    parts = split_pointer(pointer)
    is_known = before is not _UNKNOWN
    old = _resolve(before, pointer) if is_known else _UNKNOWN
    if not parts:
        return _list_replaced_document(old, step.get("value"))
    path = _write(before, parts) if is_known else write_path([*parts])
    verb = step.get("op", "")
    if verb == "remove":
        return [_make_change(_("removed"), path, parts, old, _UNKNOWN)]
    if verb in ("move", "copy"):
        source = write_path([*split_pointer(step.get("from", ""))])
        text = _("moved from %(path)s") if verb == "move" else _("copied from %(path)s")
        return [Change(text % {"path": mask_text(source)}, mask_text(path))]
    word = _("added") if verb == "add" else _("changed")
    return [_make_change(word, path, parts, old if verb != "add" else _UNKNOWN, step.get("value"))]


def _resolve(document: Any, pointer: str) -> Any:
    try:
        return resolve_pointer(document, pointer)
    except (JsonPointerException, TypeError, ValueError):
        return _UNKNOWN


def _write(document: Any, parts: list[str]) -> str:
    """The path with [0] for positions in lists, which a pointer does not tell from keys."""
    shown: list[str | int] = []
    for part in parts:
        if isinstance(document, list):
            position = len(document) if part == "-" else int(part)
            shown.append(position)
            document = document[position] if position < len(document) else None
        else:
            shown.append(part)
            document = document.get(part) if isinstance(document, dict) else None
    return write_path(shown)


def _list_replaced_document(old: Any, new: Any) -> list[Change]:
    """A patch that sets the whole workspace, told key by key."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [_make_change(_("replaced"), _("the whole workspace"), [], old, new)]
    rows = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key, _UNKNOWN), new.get(key, _UNKNOWN)
        if before != after:
            word = _("added") if before is _UNKNOWN else _("removed") if after is _UNKNOWN else _("changed")
            rows.append(_make_change(word, write_path([key]), [key], before, after))
    return rows


def _make_change(verb: str, path: str, parts: list[str], before: Any, after: Any) -> Change:
    return Change(
        verb,
        mask_text(path),
        None if before is _UNKNOWN else shorten(mask_at(parts, before), VALUE_MAX),
        None if after is _UNKNOWN else shorten(mask_at(parts, after), VALUE_MAX),
        _measure(before),
        _measure(after),
    )


def _measure(value: Any) -> str:
    return measure(value) if isinstance(value, dict | list) else ""


def list_changes(before: dict, after: dict) -> Changes:
    """What is different between two workspaces."""
    patch = workspaces.make_patch(workspaces.serialize(before), workspaces.serialize(after))
    return list_patch(patch, before)
