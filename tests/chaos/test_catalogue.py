"""The catalogue and the tests agree: no fault is forgotten, none is made up."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.catalogue import FAULTS

pytestmark = pytest.mark.once

TESTS = Path(__file__).resolve().parent.parent


def test_every_fault_has_a_test_or_a_reason_for_having_none():
    tried = set(find_numbers())
    assert tried <= FAULTS.keys()
    explained = {number for number, fault in FAULTS.items() if "" in fault.left_out}
    assert sorted(FAULTS.keys() - tried - explained) == []


def find_numbers() -> Iterator[int]:
    """The numbers that tests name."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                yield from (ast.literal_eval(number) for number in node.args)
