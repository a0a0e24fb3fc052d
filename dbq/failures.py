"""An exception as the words that are kept of it."""

import hashlib
import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from dbq.conf import get_configuration
from dbq.masking import mask_text, mask_traceback

# The folder of the engine itself; what lies deeper is somebody's tasks.
ENGINE = str(Path(__file__).resolve().parent)
MESSAGE_MAX_CHARACTERS = 2_000
TYPE_MAX_CHARACTERS = 200
# Of a message or a traceback; what is longer is cut before secrets are looked for.
LOOKED_AT_CHARACTERS = 100_000
# What differs between two failures of one kind: numbers, hexadecimal ids, quoted values.
VARIABLE = re.compile(r"""0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+|'[^']*'|"[^"]*\"""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    error_type: str
    message: str
    traceback: str
    # The same for failures of one kind: type, message without its variable parts, last own frame.
    fingerprint: str


def describe(exception: BaseException) -> Failure:
    """Say what went wrong, in texts of bounded length that every database can store.

    What looks secret in them is masked here already, so that no search can ask for it later.
    """
    error_type = _clean(_name_type(type(exception)), TYPE_MAX_CHARACTERS)
    message = _clean(mask_text(_read_message(exception)[:LOOKED_AT_CHARACTERS]), MESSAGE_MAX_CHARACTERS)
    frames = _find_own_frames(exception)
    return Failure(
        error_type=error_type,
        message=message,
        traceback=_format(exception),
        fingerprint=make_fingerprint(error_type, message, frames[-1] if frames else ""),
    )


def make_failure(error_type: str, message: str) -> Failure:
    """A failure that no exception told of: a crash, a lost worker."""
    return Failure(error_type, message, "", make_fingerprint(error_type, message, ""))


def make_fingerprint(error_type: str, message: str, place: str) -> str:
    text = "\n".join((error_type, VARIABLE.sub("…", message), place))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _name_type(error_class: type) -> str:
    if error_class.__module__ == "builtins":
        return error_class.__qualname__
    return f"{error_class.__module__}.{error_class.__qualname__}"


def _read_message(exception: BaseException) -> str:
    try:
        return str(exception)
    except BaseException as error:  # somebody's code, as the task itself
        return f"(its text raised {type(error).__name__})"


def _find_own_frames(exception: BaseException) -> list[str]:
    """File and function of each frame outside the engine, outermost first."""
    frames = traceback.extract_tb(exception.__traceback__)
    return [f"{f.filename}:{f.name}" for f in frames if not _is_engine(f.filename)]


def _is_engine(filename: str) -> bool:
    return str(Path(filename).parent) == ENGINE


def _format(exception: BaseException) -> str:
    """The traceback without the engine's own frames above the task; its end if it is too long."""
    first = exception.__traceback__
    while first is not None and _is_engine(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    try:
        lines = traceback.format_exception(type(exception), exception, first or exception.__traceback__)
    except Exception:
        # An exception may misbehave when it is looked at; its type is known all the same.
        lines = [_name_type(type(exception))]
    text = mask_traceback("".join(lines)[-LOOKED_AT_CHARACTERS:])
    limit = get_configuration().TRACEBACK_MAX_CHARACTERS
    if len(text) > limit:
        text = f"… ({len(text) - limit:,} characters left out)\n{text[-limit:]}"
    return _clean(text, limit + 100)


def _clean(text: str, limit: int) -> str:
    text = text.replace("\0", "\\0").encode(errors="backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"
