"""No guard of the engine goes without a test that misses it; `make guards` finds out which."""

import ast
from pathlib import Path

import pytest

from scripts import guards

pytestmark = pytest.mark.once

TESTS = Path(__file__).resolve().parent


def test_every_guard_is_in_the_table_as_it_is_in_the_source():
    """If not, `make guards ARGS=--missing` tries those that are new."""
    assert guards.TABLE.read_text() == guards.write_table(guards.read_table())


def test_every_guard_has_a_test_that_misses_it_or_a_reason_why_there_is_none():
    found = {guard.name for guard in guards.find_guards()}

    losses = guards.read_table()
    assert sorted(name for name, loss in losses.items() if loss is None) == []
    assert found == losses.keys() | guards.IMPLIED.keys()


def test_the_tests_that_miss_a_guard_exist():
    named = {loss.test.partition("[")[0] for loss in guards.read_table().values() if loss}

    assert sorted(named - {name for test in named for name in find_tests(test)}) == []


def find_tests(test: str) -> set[str]:
    """The names of all tests in the file of this one."""
    path = TESTS / test.partition("::")[0]
    tree = ast.parse(path.read_text() if path.exists() else "")
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {f"{test.partition('::')[0]}::{name}" for name in functions}


def test_two_guards_do_not_share_a_name():
    names = [guard.name for guard in guards.find_guards()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", guards.SOURCES)
def test_a_source_without_one_of_its_guards_is_still_a_program(path):
    source = (guards.ROOT / path).read_text()
    found = [guard for guard in guards.find_guards() if guard.path == path]

    assert found
    for guard in found:
        lacking = guard.remove_from(source)
        assert ast.dump(ast.parse(lacking)) != ast.dump(ast.parse(source)), guard.name
