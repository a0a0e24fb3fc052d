"""Secrets hidden before anything leaves the server: by the name of their key, or by their looks.

A value under a key that looks secret is hidden whole; anywhere else, the part of a text that looks like
a token is. `hide_for_editing` numbers what it hides, so that `restore` can put it back afterwards.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.views.debug import SafeExceptionReporterFilter

from dbq.conf import get_configuration
from dbq.exceptions import InvalidWorkspace

MASK = SafeExceptionReporterFilter.cleansed_substitute
# Beside Django's own API, AUTH, TOKEN, KEY, SECRET, PASS and SIGNATURE.
MORE_SECRET_KEYS = ("COOKIE", "CREDENTIAL", "SESSION", "BEARER", "DSN")
# What follows such a word in a text, up to the value: "…": '…'= …: …=>
SEPARATOR = re.compile(r"""([\w.-]{0,60}+)(\\?["'])?+\s{0,3}+(?:=>|==?|:)\s{0,3}""")
# KeyError: and TokenExpiredException: tell what went wrong; what follows them is not a key's value.
NAME_OF_ERROR = re.compile(r"(Error|Exception|Warning|Expired|Invalid|Denied|Missing)\w*$")
BARE_VALUE = re.compile(r"[^\s,;&)}\]\"']+")
# Authorization: Basic dXNlcg==: the scheme is one word, what it carries the next.
REST_OF_SCHEME = re.compile(r"(?i:(?<=basic)|(?<=bearer)|(?<=token)|(?<=digest))\s+[^\s,;\"']+")
BRACKETS = {"{": "}", "[": "]", "(": ")"}
LITERAL = re.compile(r"""[rbfuRBFU]{0,2}(?:"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?)""", re.DOTALL)
ESCAPED_LITERAL = re.compile(r"""\\(["'])(?:(?!\\\1).)*(?:\\\1)?""", re.DOTALL)
TOKEN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)"
    r"|\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"
    r"|\b[spr]k[-_](?:live_|test_|proj-|ant-)?[A-Za-z0-9_-]{12,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}"
    r"|\bxox[a-z]-[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{30,}|\bya29\.[\w.-]{20,}"
    r"|\b(?:npm|hf|pypi|dop_v1|whsec)[-_][A-Za-z0-9_-]{20,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|(?<=://)(?:[^\s/@:\"'<>]{0,100}+:[^\s\"'<>]{1,200}|[^\s/@:\"'<>]{1,200}+)(?=@)"
    r"|(?i:(?<=\bbearer )|(?<=\bbearer: ))[\w.~+/=-]{6,}"
    r"|(?i:(?<=\bbasic ))(?=[A-Za-z+/]*[0-9=])[\w+/=-]{8,}"
    r"|\*{20}",
    re.DOTALL,
)
PLACEHOLDER = re.compile(r"\*{20}\((\d{1,6})\)")
BARE_MASK = re.compile(r"\*{20}(?!\(\d)")
CODE_LINE = re.compile(r"^ {4}(?! *File \")", re.MULTILINE)


def is_secret_key(key: object) -> bool:
    """Whether what stands under this key is hidden, whatever it is."""
    return isinstance(key, str) and bool(_get_key_pattern().search(key))


def mask(value: Any) -> Any:
    """The value with every secret in it hidden; the given one stays as it is."""
    if isinstance(value, dict):
        return {
            name: MASK if is_secret_key(key) else mask(value[key])
            for key, name in zip(value, _mask_names(value), strict=True)
        }
    if isinstance(value, list | tuple):
        return [mask(item) for item in value]
    return mask_text(value) if isinstance(value, str) else value


def mask_text(text: str) -> str:
    """A text with what looks secret in it hidden; one that holds JSON is looked at as JSON."""
    return _mask_text(text) if len(text) < 2_000 else _mask_text.__wrapped__(text)


@lru_cache(maxsize=4096)
def _mask_text(text: str) -> str:
    document = _read_document(text)
    if document is not None:
        masked = mask(document)
        return text if masked == document else json.dumps(masked, ensure_ascii=False)
    return _hide_values(TOKEN.sub(MASK, text))


def mask_traceback(text: str) -> str:
    """A traceback with what looks secret hidden; in lines of code only literals are."""
    pieces = []
    for line in text.splitlines(keepends=True):
        is_code = bool(CODE_LINE.match(line))
        pieces.append(_hide_values(TOKEN.sub(MASK, line), only_literals=is_code))
    # Once more for what spans lines, such as a private key.
    return TOKEN.sub(MASK, "".join(pieces))


def mask_at(path: Iterable[str], value: Any) -> Any:
    """A value as it is shown where it stands: the keys above it count."""
    return MASK if any(map(is_secret_key, path)) else mask(value)


def has_secrets(value: Any) -> bool:
    return mask(value) != value


# Texts


def _hide_values(text: str, *, only_literals: bool = False) -> str:
    """Hide what follows a secret key: password=…, 'token': '…', X-Api-Key: …"""
    pieces: list[str] = []
    done = 0
    for match in _get_key_pattern().finditer(text):
        if match.start() < done:
            continue
        separator = SEPARATOR.match(text, match.end())
        if separator is None or NAME_OF_ERROR.search(match[0] + separator[1]):
            continue
        start, end = _find_value(text, separator.end(), only_literals=only_literals)
        if start < end:
            pieces += (text[done:start], MASK)
            done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _find_value(text: str, position: int, *, only_literals: bool) -> tuple[int, int]:
    """Where the value begins and ends, without its quotes."""
    literal = LITERAL.match(text, position)
    if literal:
        quote = min(filter(lambda i: i >= 0, (literal[0].find('"'), literal[0].find("'"))))
        closed = len(literal[0]) > quote + 1 and literal[0].endswith(literal[0][quote])
        return position + quote + 1, literal.end() - closed
    escaped = ESCAPED_LITERAL.match(text, position)
    if escaped:
        closed = len(escaped[0]) > 3 and escaped[0].endswith("\\" + escaped[1])
        return position + 2, escaped.end() - (2 if closed else 0)
    if only_literals:
        return position, position
    if text[position : position + 1] in BRACKETS:
        return position, _find_closing(text, position)
    bare = BARE_VALUE.match(text, position)
    if bare is None:
        return position, position
    rest = REST_OF_SCHEME.match(text, bare.end())
    return position, rest.end() if rest else bare.end()


def _find_closing(text: str, position: int) -> int:
    """Where the bracket that opens here closes; the end of the text if it never does."""
    expected: list[str] = []
    while position < len(text):
        character = text[position]
        if character in "\"'":
            literal = LITERAL.match(text, position)
            position = literal.end() if literal else position + 1
            continue
        if character in BRACKETS:
            expected.append(BRACKETS[character])
        elif expected and character == expected[-1]:
            expected.pop()
            if not expected:
                return position + 1
        position += 1
    return position


def _read_document(text: str) -> Any:
    """The object or list that a text holds as JSON, or None."""
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mask_names(value: dict) -> Iterator[str]:
    """The keys as they are shown: a key may be a token itself, and two must not become one."""
    seen: set[str] = set()
    for key in value:
        name = TOKEN.sub(MASK, key) if isinstance(key, str) else str(key)
        shown, number = name, 2
        while shown in seen:
            shown, number = f"{name} ({number})", number + 1
        seen.add(shown)
        yield shown


# Patches (RFC 6902)


def mask_changes(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A patch with the secrets in its values and paths hidden."""
    return [_mask_change(change) for change in changes]


def _mask_change(change: dict[str, Any]) -> dict[str, Any]:
    masked = dict(change)
    path = split_pointer(change.get("path", ""))
    for key in ("path", "from"):
        if key in change:
            masked[key] = TOKEN.sub(MASK, change[key])
    if "value" in change:
        masked["value"] = mask_at(path, change["value"])
    return masked


def split_pointer(pointer: str) -> list[str]:
    """The keys and positions that a JSON Pointer names."""
    parts = pointer.split("/")[1:]
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


# Editing


def hide_for_editing(workspace: dict) -> dict:
    """The workspace with each secret replaced by a numbered placeholder."""
    return _Numbering().hide(workspace)


def restore(edited: dict, original: dict) -> dict:
    """Put the secrets of the original back where the edited workspace has their placeholders.

    Raises InvalidWorkspace when a placeholder is unknown, or stands where its secret would be shown.
    """
    if any(map(BARE_MASK.search, _walk_texts(edited))):
        raise InvalidWorkspace(f"{MASK} without its number is not a value; write the value itself.")
    numbering = _Numbering()
    numbering.hide(original)
    restored = numbering.put_back(edited)
    # Both as they would be shown: a secret that now stands in the open makes them differ.
    if _Numbering().hide(restored, MASK) != _Numbering().hide(_drop_numbers(edited), MASK):
        raise InvalidWorkspace(
            "A masked value may be kept, removed or replaced, but not moved to where it would be shown."
        )
    return restored


def _walk_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _walk_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk_texts(item)
    elif isinstance(value, str):
        yield value


def _drop_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {PLACEHOLDER.sub(MASK, key): _drop_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_drop_numbers(item) for item in value]
    return PLACEHOLDER.sub(MASK, value) if isinstance(value, str) else value


class _Numbering:
    """Hides the secrets of one workspace behind numbers, always the same ones."""

    def __init__(self) -> None:
        self.secrets: list[Any] = []

    def hide(self, value: Any, shown: str = f"{MASK}({{}})") -> Any:
        if isinstance(value, dict):
            return {
                self._hide_tokens(key, shown): self._number(item, shown)
                if is_secret_key(key)
                else self.hide(item, shown)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.hide(item, shown) for item in value]
        return self._hide_text(value, shown) if isinstance(value, str) else value

    def _hide_text(self, text: str, shown: str) -> str:
        if TOKEN.sub(MASK, text) == mask_text(text):
            return self._hide_tokens(text, shown)
        # Only its surroundings tell that it is a secret: hidden together with them.
        return self._number(text, shown)

    def _hide_tokens(self, text: str, shown: str) -> str:
        return TOKEN.sub(lambda match: self._number(match[0], shown), text)

    def _number(self, secret: Any, shown: str) -> str:
        self.secrets.append(secret)
        return shown.format(len(self.secrets))

    def put_back(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._put_back_text(key): self.put_back(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.put_back(item) for item in value]
        if not isinstance(value, str):
            return value
        whole = PLACEHOLDER.fullmatch(value)
        return self._find(whole) if whole else self._put_back_text(value)

    def _put_back_text(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda match: str(self._find(match)), text)

    def _find(self, placeholder: re.Match) -> Any:
        number = int(placeholder[1])
        if not 1 <= number <= len(self.secrets):
            raise InvalidWorkspace(f"There is no masked value {placeholder[0]} in this workspace.")
        return self.secrets[number - 1]


# Configuration


@cache
def _get_key_pattern() -> re.Pattern:
    words = [re.escape(word) for word in (*MORE_SECRET_KEYS, *get_configuration().SECRET_KEYS)]
    django = SafeExceptionReporterFilter.hidden_settings.pattern
    return re.compile("|".join((django, *words)), re.IGNORECASE)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "DBQ":
        _get_key_pattern.cache_clear()
        _mask_text.cache_clear()


setting_changed.connect(_forget)
