"""A stored traceback as its parts, so that the application's own frames stand out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby

from dbq.masking import mask_text, mask_traceback

FRAME = re.compile(r'^\s*(?:\|\s*)?File "(?P<file>[^"\n]*)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
LIBRARY = re.compile(
    r"(^<)|[/\\](site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|[/\\]dbq[/\\](execution|run|engine)\.py$"
)


@dataclass
class Frame:
    file: str
    line: str
    function: str
    code: list[str] = field(default_factory=list)

    @property
    def is_library(self) -> bool:
        """Whether it belongs to an installed package, not to the project."""
        return bool(LIBRARY.search(self.file))

    @property
    def short_file(self) -> str:
        """The end of the path, which is what tells two files apart."""
        parts = self.file.replace("\\", "/").split("/")
        return "/".join(parts[-3:])


@dataclass
class Text:
    """What is no frame: headings, the error itself, notes."""

    text: str


@dataclass
class Fold:
    """Frames in a row that are of the same kind; a library's begin folded."""

    frames: list[Frame]
    is_library: bool


@dataclass(frozen=True)
class Traceback:
    parts: list[Text | Fold]
    # The place to look at first: the last frame of the application.
    culprit: Frame | None
    text: str
    message: str


def parse(text: str, error_type: str, message: str) -> Traceback:
    """Read a traceback; what is not understood stays as text. Everything is masked."""
    shown = mask_traceback(text)
    pieces = list(_split(shown))
    parts: list[Text | Fold] = []
    for kind, group in groupby(pieces, key=_find_kind):
        items = list(group)
        if kind == "text":
            parts.append(Text("\n".join(item.text for item in items if isinstance(item, Text))))
        else:
            frames = [item for item in items if isinstance(item, Frame)]
            parts.append(Fold(frames, is_library=kind == "library"))
    own = [piece for piece in pieces if isinstance(piece, Frame) and not piece.is_library]
    return Traceback(parts, own[-1] if own else None, shown, f"{error_type}: {mask_text(message)}")


def _find_kind(piece: Text | Frame) -> str:
    if isinstance(piece, Text):
        return "text"
    return "library" if piece.is_library else "own"


def _split(text: str) -> list[Text | Frame]:
    pieces: list[Text | Frame] = []
    for line in text.splitlines():
        match = FRAME.match(line)
        last = pieces[-1] if pieces else None
        if match:
            pieces.append(Frame(match["file"], match["line"], match["function"] or ""))
        elif isinstance(last, Frame) and line.startswith("    "):
            last.code.append(line[4:])
        elif line.strip():
            pieces.append(Text(line))
    return pieces
