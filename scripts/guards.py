"""The guards of the engine's statements, found in its source, and the table of the tests that miss them.

A guard is what lets a statement move nothing: a condition on a job's state, lane, fence or version, or on
whatever else it asks before it moves a row; the lock that makes what it asked hold until it moves; and the
rise of a fence or a version, without which the conditions of others would be worth nothing.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "guards.md"

# Where guarded statements are: whole files, or the functions named.
SOURCES: dict[str, tuple[str, ...]] = {
    "dbq/transitions.py": (),
    "dbq/dialects/base.py": (),
    "dbq/dialects/mysql.py": (),
    "dbq/dialects/postgresql.py": (),
    "dbq/dialects/sqlite.py": (),
    "dbq/bulk.py": ("run_chunk", "_match", "_running", "_act_on"),
    "dbq/operations.py": ("lock_job", "take_jobs", "_stop_worker"),
    "dbq/querysets.py": ("delete", "old"),
    "dbq/models/job.py": ("_only_me",),
    "dbq/engine.py": ("_find_own_jobs",),
    "dbq/leases.py": (),
    "dbq/history.py": ("update_attempt", "write_lost_attempts", "end_open_attempts", "_get_round"),
}
# They say which rows are meant, not whether they may be moved.
ADDRESSES = {"pk", "pk__in", "pk__gt", "id", "job_id", "job_id__in"}
# The table's check ties them together: they go together.
TWINS = "lane=Lane.FINISHED, state__in=FINISHED"
RISING = {"fence", "version"}
JOINED = re.compile(r" AND \{table\}\.(\w+) = d\.\1")
RISES = re.compile(r"(fence|version) = \{table\}\.\1( \+ 1)")
LOCKING = re.compile(r" FOR UPDATE")

# Why no test can miss them. They are not tried, unless asked for.
IMPLIED = {
    "transitions._find_innocent: attempt__lte=1": "Those of later attempts have been given back before.",
    "transitions.requeue: lane=Lane.FINISHED": "It gathers names; what moves their jobs asks again.",
    "transitions._set_going: lane=Lane.FINISHED": "The state says it too; the lane is for the index.",
    "transitions.find_due: lane=Lane.WAITING": "It is a look before promote, which asks again.",
    "transitions.find_due: run_after__lte=AskedNow()": "It is a look before promote, which asks again.",
    "transitions.find_expired: expires_at__lt=AskedNow()": "It is a look before declare_dead asks again.",
    "leases.find_dead: expires_at__isnull=True": "It is a look before forget_dead asks again.",
    "transitions.edit_workspace: state=job.state": "Every change of the state raises the version.",
    "history.update_attempt: task=result.task": "Under one fence, one attempt at a time is open.",
    "history.update_attempt: number=result.number": "Under one fence, one attempt at a time is open.",
}


@dataclass(frozen=True)
class Guard:
    """One guard: where it is, what it says, and what the source would be without it."""

    path: str
    function: str
    text: str
    # How many of the same function say the same before it.
    number: int
    kind: str
    # From where to where, and what is put there.
    start: int
    end: int
    instead: str = ""

    @property
    def statement(self) -> str:
        module = self.path.removeprefix("dbq/").removesuffix(".py").replace("/", ".")
        return f"{module}.{self.function}" + (f" ({self.number + 1})" if self.number else "")

    @property
    def name(self) -> str:
        return f"{self.statement}: {self.text}"

    def remove_from(self, source: str) -> str:
        """The source without this guard."""
        return source[: self.start] + self.instead + source[self.end :]


def find_guards() -> list[Guard]:
    """Every guard, in the order of files and lines."""
    return [guard for path in SOURCES for guard in find_in_file(path)]


def find_in_file(path: str) -> list[Guard]:
    source = (ROOT / path).read_text()
    seen: Counter[tuple[str, str]] = Counter()
    guards = []
    for function in find_functions(path, source):
        reader = Reader(source, function)
        for kind, text, start, end, instead in sorted(reader.find(), key=lambda found: found[2]):
            number = seen[function.name, text]
            seen[function.name, text] += 1
            guards.append(Guard(path, function.name, text, number, kind, start, end, instead))
    return guards


def find_functions(path: str, source: str) -> list[ast.FunctionDef]:
    """Those of a file that have guards or may get some."""
    functions = list(walk_functions(ast.parse(source)))
    if absent := set(SOURCES[path]).difference(function.name for function in functions):
        raise LookupError(f"{path} has no {' and no '.join(sorted(absent))}: scripts/guards.py names it.")
    return [function for function in functions if not SOURCES[path] or function.name in SOURCES[path]]


def walk_functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions and methods; what is within one belongs to it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from walk_functions(node)


def add_first(path: str, line: str, source: str) -> str:
    """The source with a line at the beginning of each of these functions; "{}" stands for its name."""
    lines = source.splitlines(keepends=True)
    for function in reversed(find_functions(path, source)):
        has_docstring = ast.get_docstring(function) is not None and len(function.body) > 1
        first = function.body[1 if has_docstring else 0]
        lines.insert(first.lineno - 1, " " * first.col_offset + line.format(function.name) + "\n")
    return "".join(lines)


Found = tuple[str, str, int, int, str]


class Reader:
    """Finds the guards of one function."""

    def __init__(self, source: str, function: ast.FunctionDef) -> None:
        self.source = source
        self.function = function
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def find(self) -> Iterator[Found]:
        for node in ast.walk(self.function):
            if isinstance(node, ast.Call):
                yield from self.find_conditions(node)
                yield from self.find_locks(node)
            elif isinstance(node, ast.Dict):
                yield from self.find_rises(node)
            elif isinstance(node, ast.JoinedStr):
                yield from self.find_in_text(node)
            elif isinstance(node, ast.Constant) and node.value == "IMMEDIATE":
                yield "lock", "IMMEDIATE", self.start(node), self.end(node), '"DEFERRED"'

    def find_conditions(self, call: ast.Call) -> Iterator[Found]:
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in {"filter", "exclude"}:
            return
        nodes: list[Any] = [*call.args, *call.keywords]
        if TWINS in ", ".join(map(self.text, nodes)):
            first, last, *nodes = nodes
            yield "condition", TWINS, self.start(first), self.end_with_comma(last), ""
        for node in nodes:
            if isinstance(node, ast.keyword) and node.arg in ADDRESSES:
                continue
            yield "condition", self.text(node), self.start(node), self.end_with_comma(node), ""

    def find_locks(self, call: ast.Call) -> Iterator[Found]:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "select_for_update":
            start = self.end(call.func.value)
            yield "lock", self.source[start : self.end(call)], start, self.end(call), ""

    def find_rises(self, assignments: ast.Dict) -> Iterator[Found]:
        for key, value in zip(assignments.keys, assignments.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in RISING and isinstance(value, ast.BinOp):
                yield "rise", f"{key.value} rises", self.start(key), self.end_with_comma(value), ""

    def find_in_text(self, node: ast.JoinedStr) -> Iterator[Found]:
        start = self.start(node)
        text = self.source[start : self.end(node)]
        for kind, pattern in (("condition", JOINED), ("lock", LOCKING)):
            for match in pattern.finditer(text):
                yield kind, match[0].strip(), start + match.start(), start + match.end(), ""
        for match in RISES.finditer(text):
            yield "rise", f"{match[1]} rises", start + match.start(2), start + match.end(2), ""

    # Places in the source

    def text(self, node: Any) -> str:
        return " ".join(self.source[self.start(node) : self.end(node)].split())

    def start(self, node: Any) -> int:
        return self.place(node.lineno, node.col_offset)

    def end(self, node: Any) -> int:
        return self.place(node.end_lineno, node.end_col_offset)

    def end_with_comma(self, node: Any) -> int:
        end = self.end(node)
        comma = re.compile(r"\s*,").match(self.source, end)
        return comma.end() if comma else end

    def place(self, line: int, column: int) -> int:
        begin = self.lines[line - 1]
        # Columns count bytes.
        text = self.source[begin : self.lines[line]].encode()[:column]
        return begin + len(text.decode())


# The table

HEAD = """\
# Every guard, and a test that misses it

Made by `make guards`, which takes one guard at a time out of a copy of the engine and runs the tests
until one fails. The tests are those of `tests/`; SQLite is tried first, then PostgreSQL and MariaDB.

| statement | guard | the test that fails without it | on |
|---|---|---|---|
"""
IMPLIED_HEAD = """
## What cannot be missed

Without one of these alone, nothing changes that could be seen, for the reason given.

| statement | guard | why |
|---|---|---|
"""
NO_TEST = "**none**"


@dataclass(frozen=True)
class Loss:
    """What comes of taking a guard out: the test that fails, and the database it fails on."""

    test: str
    database: str

    def __str__(self) -> str:
        return f"{self.test} on {self.database}"


def write_table(losses: dict[str, Loss | None]) -> str:
    """The page about all guards; `losses` by the guards' names."""
    lines, implied = [], []
    for guard in find_guards():
        cells = [f"`{guard.statement}`", f"`{escape(guard.text)}`"]
        if guard.name in IMPLIED:
            implied.append([*cells, IMPLIED[guard.name]])
        else:
            loss = losses.get(guard.name)
            lines.append([*cells, *([f"`{escape(loss.test)}`", loss.database] if loss else [NO_TEST, ""])])
    return HEAD + write_rows(lines) + (IMPLIED_HEAD + write_rows(implied) if implied else "")


def write_rows(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def read_table() -> dict[str, Loss | None]:
    """What the page says of each guard, by name; those that others imply are not among them."""
    losses: dict[str, Loss | None] = {}
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    for line in lines:
        cells = [unescape(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`"):
            statement, text, test, database = (cell.strip("`") for cell in cells)
            losses[f"{statement}: {text}"] = Loss(test, database) if test != NO_TEST else None
    return losses


def escape(text: str) -> str:
    return text.replace("|", "\\|")


def unescape(text: str) -> str:
    return text.replace("\\|", "|")
