"""What a workspace may hold, how it is written down, and what changed in it.

The three databases disagree about JSON: NaN, NUL, lone surrogates, depth. A workspace must fit all of
them, so that a job does not fail on one database with what another accepted.
"""

import json
from typing import Any

import jsonpatch

from dbq.conf import get_configuration
from dbq.exceptions import InvalidWorkspace

# Above this many characters a patch is not searched for: the whole document is the patch.
DIFF_MAX_CHARACTERS = 200_000

# What the patch that sets the whole document is longer than the document.
WHOLE_DOCUMENT_CHARACTERS = 60
# Joined patches up to this are kept as they are, however small the document.
SMALL_PATCH_CHARACTERS = 2_000

Patch = list[dict[str, Any]]

# With the blanks that PostgreSQL and Django write: what is unchanged is known by its text.
ENCODER = json.JSONEncoder(allow_nan=False)


def write(workspace: dict) -> str:
    """Write a workspace that the database has accepted before as JSON text."""
    return ENCODER.encode(workspace)


def is_written(workspace: Any, text: str) -> bool:
    """Whether this is how the workspace is written: then nothing has changed, and no rule can be broken."""
    try:
        return isinstance(workspace, dict) and ENCODER.encode(workspace) == text
    except (TypeError, ValueError, RecursionError):
        return False


def serialize(workspace: Any) -> str:
    """Write a workspace as JSON text; raise InvalidWorkspace with the rule it breaks."""
    if not isinstance(workspace, dict):
        raise InvalidWorkspace(f"A workspace must be an object (a dict), not {type(workspace).__name__}.")
    try:
        text = ENCODER.encode(workspace)
    except (TypeError, ValueError, RecursionError):
        raise InvalidWorkspace(_explain(workspace)) from None
    _check_text(text, workspace)
    return text


def _check_text(text: str, workspace: dict) -> None:
    configuration = get_configuration()
    if len(text) > configuration.WORKSPACE_MAX_BYTES:
        raise InvalidWorkspace(
            f"The workspace is {len(text):,} bytes of JSON;"
            f" at most {configuration.WORKSPACE_MAX_BYTES:,} are allowed."
        )
    # Cheap looks first: only a text with these marks can break the rules that need a walk.
    if text.count("{") + text.count("[") > configuration.WORKSPACE_MAX_DEPTH or "\\u" in text:
        problem = _find_value_problem(workspace, "workspace", 0)
        if problem:
            raise InvalidWorkspace(problem)
    # json writes the keys 1, None and True as strings; reading them back would not give them again.
    if any(not isinstance(key, str) for key in _walk_keys(workspace)):
        raise InvalidWorkspace(_explain(workspace))


def _walk_keys(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            if isinstance(item, dict | list | tuple):
                yield from _walk_keys(item)
    else:
        for item in value:
            if isinstance(item, dict | list | tuple):
                yield from _walk_keys(item)


def _explain(workspace: dict) -> str:
    return _find_value_problem(workspace, "workspace", 0) or "The workspace is not valid JSON."


def _find_value_problem(value: Any, path: str, depth: int) -> str | None:
    """The first rule that a value breaks, with the path to it."""
    limit = get_configuration().WORKSPACE_MAX_DEPTH
    if depth > limit:
        return f"{path[:200]} is nested deeper than {limit} levels."
    if isinstance(value, dict):
        return _find_object_problem(value, path, depth)
    if isinstance(value, list | tuple):
        items = enumerate(value)
        return next(filter(None, (_find_value_problem(v, f"{path}[{i}]", depth + 1) for i, v in items)), None)
    if isinstance(value, str):
        return _find_text_problem(value, path)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"{path} is {value}, which JSON does not have."
    if value is None or isinstance(value, bool | int | float):
        return None
    return f"{path} is of type {type(value).__name__}, which JSON does not have."


def _find_object_problem(value: dict, path: str, depth: int) -> str | None:
    for key, item in value.items():
        if not isinstance(key, str):
            return f"{path} has the key {key!r}; keys must be strings."
        problem = _find_text_problem(key, f"A key of {path}") or _find_value_problem(
            item, f"{path}[{key!r}]", depth + 1
        )
        if problem:
            return problem
    return None


def _find_text_problem(text: str, path: str) -> str | None:
    if "\0" in text:
        return f"{path} holds a NUL character, which PostgreSQL cannot store."
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{path} holds half of a surrogate pair, which is not valid Unicode."
    return None


def is_storable(text: str) -> bool:
    """Whether every database can store it."""
    return _find_text_problem(text, "") is None


def parse(text: str) -> dict:
    """Read JSON text that a person typed; raise InvalidWorkspace with line and column."""
    try:
        workspace = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidWorkspace(
            f"The workspace is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise InvalidWorkspace("The workspace is nested too deeply.") from None
    except ValueError:
        raise InvalidWorkspace("The workspace holds a number of too many digits.") from None
    serialize(workspace)
    return workspace


def make_patch(before: str, after: str) -> Patch:
    """The changes from one workspace to the next, both as JSON text, as an RFC 6902 patch.

    A patch longer than the document it makes is replaced by one that sets the whole document, so a
    patch is never much larger than a workspace.
    """
    whole = [{"op": "replace", "path": "", "value": json.loads(after)}]
    if len(before) + len(after) > DIFF_MAX_CHARACTERS:
        return whole
    patch = jsonpatch.make_patch(json.loads(before), whole[0]["value"]).patch
    is_small = len(json.dumps(patch)) <= len(after) + WHOLE_DOCUMENT_CHARACTERS
    return patch if is_small else whole


def join_patches(first: Patch, second: Patch, after: str) -> Patch:
    """One patch that does what the two do in turn; `after` is the workspace they make, as JSON text."""
    joined = first + second
    if len(json.dumps(joined)) <= max(SMALL_PATCH_CHARACTERS, len(after) + WHOLE_DOCUMENT_CHARACTERS):
        return joined
    return [{"op": "replace", "path": "", "value": json.loads(after)}]


def apply_patch(workspace: dict, patch: Patch) -> dict:
    """The workspace after an RFC 6902 patch; the given one stays as it is."""
    return jsonpatch.apply_patch(workspace, patch)
