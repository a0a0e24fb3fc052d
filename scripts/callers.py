"""A plugin of pytest: which of the tests that pass call which guarded function.

The functions tell it themselves, by a line that `scripts/mutants.py` puts into a copy of them.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_called: set[str] = set()
_by_test: dict[str, list[str]] = {}


def note(function: str) -> None:
    """What the line says."""
    _called.add(function)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    _called.clear()
    _forget_compiled()
    yield
    # Not if it raises.
    _by_test[item.nodeid] = sorted(_called)


def _forget_compiled() -> None:
    """Else only the first test would be known to have a statement compiled that is kept for the others."""
    from dbq import transitions
    from dbq.dialects import base

    for module in (transitions, base):
        for function in vars(module).values():
            if hasattr(function, "cache_clear") and function.__module__ == module.__name__:
                function.cache_clear()


def pytest_sessionfinish() -> None:
    Path(os.environ["DBQ_CALLERS"]).write_text(json.dumps(_by_test))
