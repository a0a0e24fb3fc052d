"""The browser that the tests drive, and the rule that nothing is skipped where all is required."""

import os
import shutil

import pytest
from django.db import connection

REQUIRE_ALL = os.environ.get("DBQ_REQUIRE_ALL") == "1"
CHROMIUM_FLAGS = [
    "--no-sandbox",  # root, which the sandbox refuses, runs the tests in containers
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# Playwright's synchronous interface keeps an event loop in the thread that also uses the models.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    chromium = os.environ.get("DBQ_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        give_up = pytest.fail if REQUIRE_ALL else pytest.skip
        give_up("There is no Chromium: neither DBQ_CHROMIUM nor chromium on PATH.")
    return {**browser_type_launch_args, "executable_path": chromium, "args": CHROMIUM_FLAGS}


class NothingSkipped:
    """Fail the session if a test was skipped or expected to fail, and say which."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped or hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    pytest_runtest_logreport = pytest_collectreport = note

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in self.skipped:
            terminalreporter.write_line(f"DBQ_REQUIRE_ALL=1 forbids skipping {nodeid}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if REQUIRE_ALL:
        config.pluginmanager.register(NothingSkipped())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Leave out what is `on` other databases: it is no test of this one, and none that was skipped."""
    others = [item for item in items if not is_for(item, connection.vendor)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    # Last, as the loop that the driver keeps running in this thread forbids coroutines to later tests.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def is_for(item: pytest.Item, vendor: str) -> bool:
    mark = item.get_closest_marker("on")
    return mark is None or vendor in mark.args
