"""A real Chromium on a real server: what every journey needs, and what none may leave behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, Page

from dashboard import snapshots

# A colour on its way from one theme to the other is nobody's choice of contrast.
SETTLE = """Promise.allSettled(document.getAnimations()
    .filter((animation) => animation.effect.getComputedTiming().endTime < Infinity)
    .map((animation) => animation.finished))"""
# Without the copies of style sheets that axe would put into the page, against its policy.
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
# Reports what the policy forbids before any script of the page can hide it.
WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile ?? ""}`));
"""


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What operators share is not kept: a late request of the last test's page would leave it to this one."""
    monkeypatch.setattr(snapshots, "_keep", lambda key, snapshot: None)
    snapshots.forget()


@pytest.fixture
def complaints(page: Page) -> Iterator[list[str]]:
    """What the browser complains of; the test fails if anything is left in it."""
    heard: list[str] = []
    page.add_init_script(WATCH_POLICY)
    page.on(
        "console",
        lambda message: heard.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: heard.append(str(error)))
    yield heard
    heard += page.evaluate("() => window.violations ?? []")
    assert not heard


@pytest.fixture
def operator(transactional_db: None, live_server: Any, context: BrowserContext) -> User:
    """A superuser who is logged in."""
    user = User.objects.create_superuser("olga")
    client = Client()
    client.force_login(user)
    context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )
    return user


@pytest.fixture
def console(page: Page, operator: User, live_server: Any, complaints: list[str]) -> Page:
    """The overview, open before a logged-in operator."""
    page.goto(f"{live_server.url}/dbq/")
    return page


def check_accessibility(page: Page, without: Iterable[str] = ()) -> None:
    """Fail with every rule of axe that the page breaks, parts that are not ours left out."""
    page.evaluate(SETTLE)
    parts = {"exclude": [[selector] for selector in without]}
    result = Axe().run(page, context=parts, options=AXE_OPTIONS)
    broken = [
        f"{violation['id']}: {violation['help']} {[node['target'] for node in violation['nodes']][:3]}"
        for violation in result.response["violations"]
    ]
    assert not broken, "\n".join(broken)
