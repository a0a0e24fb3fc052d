"""A pytest plug-in that writes which faults were tried and what came of each, as JSON.

Used by the command `chaos`, which names the file in DBQ_CHAOS_REPORT and the numbers of the faults,
if not all are wanted, in DBQ_CHAOS_FAULTS.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

PATH, FAULTS = "DBQ_CHAOS_REPORT", "DBQ_CHAOS_FAULTS"


class ChaosReport:
    """What each test with a fault's number came to."""

    def __init__(self, path: Path, wanted: set[int]) -> None:
        self.path = path
        self.wanted = wanted
        self.marks: dict[str, dict] = {}
        self.tests: defaultdict[str, dict] = defaultdict(
            lambda: {"outcome": "passed", "seconds": 0.0, "figures": {}}
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item], config: pytest.Config) -> None:
        others = [item for item in items if self.wanted and not self.wanted & set(list_faults(item))]
        if others:
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if item not in others]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            is_once = item.get_closest_marker("once") is not None
            self.marks[item.nodeid] = {"faults": list_faults(item), "is_once": is_once}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self.tests[report.nodeid]
        test["seconds"] += report.duration
        if report.outcome != "passed":
            test["outcome"] = report.outcome
        test["figures"] |= dict(report.user_properties)

    def pytest_sessionfinish(self) -> None:
        tests = {name: test | self.marks[name] for name, test in self.tests.items() if name in self.marks}
        self.path.write_text(json.dumps(tests, indent=1, default=str))


def list_faults(item: pytest.Item) -> list[int]:
    return [number for mark in item.iter_markers("fault") for number in mark.args]


def pytest_configure(config: pytest.Config) -> None:
    if path := os.environ.get(PATH):
        wanted = {int(number) for number in os.environ.get(FAULTS, "").split(",") if number}
        config.pluginmanager.register(ChaosReport(Path(path), wanted))
