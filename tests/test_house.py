"""Rules of the house that can be seen in its files, without running them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
# Job states are written here, and by nobody else.
WRITERS_OF_STATE = ("dbq/transitions.py", "dbq/dialects/", "dbq/migrations/")


def test_no_file_names_a_place_on_somebodys_machine():
    place = re.compile(r"(?<![\w.~-])/(work|root|home|Users)/\w")
    assert_none(find(place, tracked("*")))


def test_nothing_is_marked_safe_or_spared_the_csrf_check():
    escape = re.compile(
        r"csrf_exempt|mark_safe|SafeString|SafeText|\|\s*safe(seq)?\b|autoescape\s+off|is_safe\s*="
    )
    assert_none(find(escape, tracked("dbq/*", "dashboard/*", "templates/*")))


def test_templates_have_no_inline_script_style_or_handler():
    inline = re.compile(
        r"<script\b(?![^>]*\ssrc=)"
        r"|<style\b"
        r"|<[^>]*\s(style|on[a-z]+|hx-on[\w:-]*|hx-vars)\s*="
        r"|\bjavascript:"
        r"|=\s*[\"']?js:",
        re.IGNORECASE,
    )
    assert_none(find(inline, tracked("templates/*"), without_template_tags))


def test_nothing_is_unpickled_or_evaluated():
    modules = {"pickle", "cPickle", "dill", "marshal", "shelve", "yaml"}
    functions = {"eval", "exec", "compile", "__import__"}
    offences = [
        f"{path}:{node.lineno} {name}"
        for path, node in nodes("dbq/*.py", "dashboard/*.py")
        for name in (imported(node) & modules) | ({called_whole(node)} & functions)
    ]
    assert_none(offences)


def test_only_definitions_imports_by_name():
    functions = {"import_string", "import_module"}
    offences = [
        f"{path}:{node.lineno}"
        for path, node in nodes("dbq/*.py", "dashboard/*.py")
        if path != "dbq/definitions.py" and (imported(node) | {called(node)}) & functions
    ]
    assert_none(offences)


def test_only_transitions_write_the_state_of_a_job():
    offences = [
        f"{path}:{node.lineno}"
        for path, node in nodes("dbq/*.py", "dashboard/*.py")
        if not path.startswith(WRITERS_OF_STATE) and writes_state(path, node)
    ]
    assert_none(offences)


def writes_state(path: str, node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        values = [keyword.value for keyword in node.keywords if keyword.arg == "state"]
        # take and update_fenced are the dialects' ways to move rows.
        return called(node) in {"take", "update_fenced"} or (
            called(node) in {"update", "bulk_update", "update_or_create"}
            and not all(map(is_of_operation, values))
        )
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(
            isinstance(target, ast.Attribute) and target.attr == "state" for target in targets
        ) and not (is_of_operation(node.value) or is_birth(path, node.value))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(re.search(r"\bSET\s+\S*state\b", node.value))
    return False


def is_of_operation(value: ast.AST | None) -> bool:
    """An operation has states of its own, which whoever carries it out may write."""
    return value is not None and ast.unparse(value).startswith("Operation.State.")


def is_birth(path: str, value: ast.AST | None) -> bool:
    return path == "dbq/models/job.py" and value is not None and ast.unparse(value) == "State.NEW"


def test_the_queue_never_imports_the_dashboard():
    offences = [f"{path}:{node.lineno}" for path, node in nodes("dbq/*.py") if "dashboard" in imported(node)]
    assert_none(offences)


def test_tests_do_not_sleep():
    offences = [
        f"{path}:{node.lineno}"
        for path, node in nodes("tests/*.py")
        # A sample task may take its time; a test waits for what it is about.
        if Path(path).name != "jobs.py" and sleeps(node)
    ]
    assert_none(offences)


def sleeps(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "time" and "sleep" in imported(node)
    return called_whole(node) == "time.sleep"


# What they share


def assert_none(offences: list[str]) -> None:
    assert offences == [], "\n" + "\n".join(offences)


@cache
def tracked(*patterns: str) -> list[str]:
    """The files git tracks or would, which is what a colleague gets."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    paths = sorted(filter(None, listed.stdout.split("\0")))
    return [path for path in paths if (ROOT / path).is_file()]


def find(pattern: re.Pattern, paths: list[str], clean=lambda text: text) -> list[str]:
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1} {match[0]!r}"
        for path in paths
        for text in [clean((ROOT / path).read_text(errors="replace"))]
        for match in pattern.finditer(text)
    ]


def without_template_tags(text: str) -> str:
    """Without what Django replaces, whose arguments look like attributes; the lines stay."""
    tag = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
    return tag.sub(lambda match: "\n" * match[0].count("\n"), text)


@cache
def parse(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), path)


def nodes(*patterns: str) -> Iterator[tuple[str, ast.AST]]:
    for path in tracked(*patterns):
        for node in ast.walk(parse(path)):
            yield path, node


def imported(node: ast.AST) -> set[str]:
    """The top-level modules and the names that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0], *(alias.name for alias in node.names)}
    return set()


def called(node: ast.AST) -> str:
    """The last name of the function that is called: "update" of jobs.filter().update()."""
    return called_whole(node).rpartition(".")[2]


def called_whole(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""
