"""Photograph every page of the console and the admin, in three looks, at one moment of a shop's queue."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import packages
from environment import ROOT
from pictures import shrink
from suite import find_chromium

FOLDER = ROOT / "docs" / "screenshots"
# The console says when its page was made; with a fixed clock a browser does not know.
YOUNG_PAGE = 'Object.defineProperty(performance, "timeOrigin", { get: () => Date.now() })'


@dataclass(frozen=True)
class Look:
    """How a browser is set up; a page longer than `tallest` is cut there."""

    title: str
    options: dict[str, Any]
    tallest: int
    # In the gallery.
    width: int


LOOKS = {
    "light": Look("Light", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}, 1400, 400),
    "dark": Look("Dark", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}, 1400, 400),
    "phone": Look(
        "Phone",
        {
            "viewport": {"width": 390, "height": 844},
            "color_scheme": "light",
            "is_mobile": True,
            "has_touch": True,
        },
        1688,
        160,
    ),
}


@dataclass(frozen=True)
class Shot:
    """A page to photograph: where it is, who looks, and what they do before the shutter."""

    name: str
    title: str
    address: str
    prepare: Callable[[Any], None] | None = None
    user: str = "operator"
    # A sheet lies over the window, not over the whole page.
    is_whole: bool = True


def main() -> None:
    if not find_chromium():
        packages.install(["chromium"])
    if not find_chromium():
        sys.exit("There is no Chromium: neither DBQ_CHROMIUM nor chromium on PATH.")
    logging.getLogger("dbq").setLevel(logging.ERROR)  # its jobs fail on purpose
    with tempfile.TemporaryDirectory(prefix="dbq-screenshots-") as directory:
        os.environ["DATABASE_URL"] = f"sqlite:///{directory}/dbq.sqlite3"
        os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
        photograph(sys.argv[1:])


def photograph(wanted: list[str]) -> None:
    """Take all shots, or those that are named."""
    import django

    django.setup()
    import time_machine
    from django.core.management import call_command
    from playwright.sync_api import sync_playwright
    from shop import scene

    call_command("migrate", verbosity=0)
    shots = list_shots(scene.set_up())
    # Nothing grows older while it is photographed.
    with time_machine.travel(scene.NOW, tick=False), serve() as site:
        sessions = {name: log_in(name) for name in ("operator", "viewer")}
        with sync_playwright() as playwright, launch(playwright) as browser:
            chosen = [shot for shot in shots if not wanted or shot.name in wanted]
            for name, look in LOOKS.items():
                print(f"{look.title}: {len(chosen)} pages", flush=True)
                with Studio(browser, site, look, sessions, scene.NOW) as studio:
                    for shot in chosen:
                        (FOLDER / f"{shot.name}-{name}.png").write_bytes(studio.take(shot))
    if not wanted:
        remove_others(shots)
        (FOLDER / "README.md").write_text(write_gallery(shots))


# The site and its visitors


@contextmanager
def serve() -> Iterator[str]:
    """The site, with its static files, in a thread of this process; its address."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.test.testcases import LiveServerThread

    logging.getLogger("django").setLevel(logging.CRITICAL)  # refusals are asked for
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.terminate()


def log_in(name: str) -> str:
    """A session of that account."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username=name))
    return client.cookies["sessionid"].value


@contextmanager
def launch(playwright: Any) -> Iterator[Any]:
    from tests.conftest import CHROMIUM_FLAGS

    flags = [*CHROMIUM_FLAGS, "--lang=en-GB"]
    browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
    yield browser
    browser.close()


class Studio:
    """A browser in one look, with a context for each visitor."""

    def __init__(self, browser: Any, site: str, look: Look, sessions: dict[str, str], now: Any) -> None:
        self.site = site
        self.look = look
        self.darkroom = browser.new_page()
        self.contexts = {}
        for user, session in {**sessions, "": ""}.items():
            context = browser.new_context(**look.options, locale="en-GB", timezone_id="UTC")
            context.clock.set_fixed_time(now)
            context.add_init_script(YOUNG_PAGE)
            if session:
                context.add_cookies([{"name": "sessionid", "value": session, "url": site}])
            self.contexts[user] = context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for context in (self.darkroom.context, *self.contexts.values()):
            context.close()

    def take(self, shot: Shot) -> bytes:
        """Go to the page, do what it asks for and photograph it."""
        from dashboard import snapshots

        snapshots.forget()  # or figures would tell how long the pictures took
        page = self.contexts[shot.user].new_page()
        page.goto(self.site + shot.address, wait_until="networkidle")
        if shot.prepare:
            shot.prepare(page)
            page.wait_for_load_state("networkidle")
        self.fit(page, shot)
        png = page.screenshot(animations="disabled", caret="hide")
        page.close()
        return shrink(png, self.darkroom)

    def fit(self, page: Any, shot: Shot) -> None:
        """Make the window as tall as the page, within reason."""
        size = self.look.options["viewport"]
        height = page.evaluate("() => document.documentElement.scrollHeight") if shot.is_whole else 0
        height = min(max(height, size["height"]), self.look.tallest)
        page.set_viewport_size({"width": size["width"], "height": height})
        page.mouse.move(0, 0)


# What is photographed


def list_shots(scene: Any) -> list[Shot]:
    from django.urls import reverse

    def at(name: str, *arguments: Any, query: str = "") -> str:
        return reverse(name, args=arguments) + query

    failed, long = scene.failed.pk, scene.long.pk
    return [
        Shot("overview", "Overview", at("dbq:overview")),
        Shot(
            "overview-month",
            "Overview, a month of throughput",
            at("dbq:overview", query="?range=30d#throughput"),
        ),
        Shot("jobs", "Jobs", at("dbq:job-list")),
        Shot(
            "jobs-filtered",
            "Jobs: filtered and ticked",
            at("dbq:job-list", query="?state=FAILED&queue=imports"),
            tick_some,
        ),
        Shot(
            "jobs-confirm",
            "Jobs: an act on many, to be confirmed",
            at("dbq:job-list", query="?state=FAILED&queue=imports"),
            ask_for_all,
        ),
        Shot("job-failed", "Job: failed", at("dbq:job-detail", failed)),
        Shot("job-waiting", "Job: held back by a paused queue", at("dbq:job-detail", scene.paused.pk)),
        Shot("job-running", "Job: running, with a long name and workspace", at("dbq:job-detail", long)),
        Shot("job-completed", "Job: completed", at("dbq:job-detail", scene.completed.pk)),
        Shot("job-retry", "Job: retry", at("dbq:job-detail", failed), open_retry, is_whole=False),
        Shot("job-resume", "Job: resume from a task", at("dbq:job-resume", failed)),
        Shot("job-workspace", "Job: edit the workspace", at("dbq:job-workspace", failed)),
        Shot("job-reschedule", "Job: priority, queue and time", at("dbq:job-reschedule", scene.scheduled.pk)),
        Shot("job-delete", "Job: delete", at("dbq:job-delete", failed)),
        Shot("failures", "Failures", at("dbq:failure-list")),
        Shot("queues", "Queues", at("dbq:queue-list")),
        Shot("queue-pause", "Queues: pause one", at("dbq:queue-list"), open_pause, is_whole=False),
        Shot("workers", "Workers", at("dbq:worker-list")),
        Shot("worker-stop", "Workers: stop one", at("dbq:worker-stop", scene.worker)),
        Shot("workers-rescue", "Workers: rescue the jobs of the dead", at("dbq:workers-rescue")),
        Shot("operations", "Operations", at("dbq:operation-list")),
        Shot("operation", "Operation: what became of each job", at("dbq:operation-detail", scene.operation)),
        Shot(
            "operation-running", "Operation: under way", at("dbq:operation-detail", scene.running_operation)
        ),
        Shot("cleanup", "Clean-up", at("dbq:cleanup")),
        Shot("cleanup-preview", "Clean-up: preview", at("dbq:cleanup"), preview),
        Shot("cleanup-result", "Clean-up: done", at("dbq:cleanup", query=f"?operation={scene.cleanup}")),
        Shot("keyboard", "Keyboard", at("dbq:overview"), press_question_mark, is_whole=False),
        Shot("login", "Login", at("login"), user=""),
        Shot("not-allowed", "Not allowed", at("dbq:cleanup"), user="viewer"),
        Shot("not-found", "Not found", at("dbq:overview") + "no/such/page/"),
        Shot("admin-jobs", "Admin: jobs", at("admin:dbq_job_changelist")),
        Shot("admin-job", "Admin: job", at("admin:dbq_job_change", failed)),
        Shot("admin-act", "Admin: an act on one job", at("admin:dbq_job_change", failed), follow("Retry")),
        Shot(
            "admin-confirm",
            "Admin: an act on many, to be confirmed",
            at("admin:dbq_job_changelist", query="?stands=failed"),
            choose_retry,
        ),
        Shot("admin-cleanup", "Admin: clean-up", at("admin:dbq_job_cleanup")),
        Shot("admin-cleanup-preview", "Admin: clean-up, preview", at("admin:dbq_job_cleanup"), show_old),
        Shot("admin-workers", "Admin: workers", at("admin:dbq_worker_changelist")),
        Shot("admin-queues", "Admin: queues", at("admin:dbq_queue_changelist")),
        Shot("admin-operations", "Admin: operations", at("admin:dbq_operation_changelist")),
    ]


def tick_some(page: Any) -> None:
    for place in range(3):
        page.locator("[data-tick]").nth(place).check()
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0) }")


def ask_for_all(page: Any) -> None:
    page.get_by_text("All that match", exact=True).click()
    page.locator(".table-menu button[value=retry]").click()


def open_retry(page: Any) -> None:
    page.locator("#act-retry > summary").click()


def open_pause(page: Any) -> None:
    page.get_by_role("link", name="Pause imports").click()
    page.get_by_label("Reason").fill("The partner sends broken files")


def preview(page: Any) -> None:
    page.get_by_role("button", name="Preview").click()


def press_question_mark(page: Any) -> None:
    page.keyboard.press("?")


def follow(link: str) -> Callable[[Any], None]:
    return lambda page: page.get_by_role("link", name=link, exact=True).click()


def choose_retry(page: Any) -> None:
    for place in range(3):
        page.locator("input.action-select").nth(place).check()
    page.get_by_label("Action:").select_option("act_retry")
    page.locator('button[name="index"]').click()


def show_old(page: Any) -> None:
    page.get_by_role("button", name="Show what would be deleted").click()


# The gallery


def remove_others(shots: list[Shot]) -> None:
    """Remove pictures of pages that are no more."""
    known = {f"{shot.name}-{look}.png" for shot in shots for look in LOOKS}
    for path in FOLDER.glob("*.png"):
        if path.name not in known:
            path.unlink()


def write_gallery(shots: list[Shot]) -> str:
    lines = [
        "# Every page, in three looks",
        "",
        "Made by `make screenshots`, of a shop that never was. Long pages are cut.",
        "",
        "| | " + " | ".join(look.title for look in LOOKS.values()) + " |",
        "|---" * (len(LOOKS) + 1) + "|",
    ]
    for shot in shots:
        pictures = [
            f'<a href="{shot.name}-{name}.png"><img src="{shot.name}-{name}.png" width="{look.width}"'
            f' alt="{shot.title}, {look.title.lower()}"></a>'
            for name, look in LOOKS.items()
        ]
        lines.append(f"| {shot.title} | " + " | ".join(pictures) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
