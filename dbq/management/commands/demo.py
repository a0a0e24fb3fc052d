from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from dbq.conf import get_configuration
from dbq.demo import manifest, seeds
from dbq.demo.processes import LOOK_SECONDS, Child, Children, StopSignals
from dbq.models import Job

HOST = "127.0.0.1"
PREFERRED_PORT = 8000
OPERATOR = "operator"
QUEUES = ("default", seeds.PACKAGES_QUEUE)
WORKERS = 2
DATABASE = "db.sqlite3"
WEB_SERVER = "the web server"
WEB_LOG = "web.log"
# For the web server to answer.
START_SECONDS = 30
# On top of what a worker gives its running tasks when it is told to stop.
EXTRA_GRACE_SECONDS = 10


def port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 1 to 65535, not {text}.")
    return number


class Command(BaseCommand):
    help = "Show dbq at work: sample jobs, two workers and the web server, until Ctrl-C."
    # Checked in handle(), once this process is at the demo's database.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=port, help=f"Default: {PREFERRED_PORT}, or any free one if it is taken."
        )
        parser.add_argument(
            "--keep",
            action="store_true",
            help="Go on with the last run's database, and create jobs only if it has none.",
        )
        parser.add_argument("--no-seed", action="store_true", help="Create no jobs.")
        parser.add_argument(
            "--folder",
            type=Path,
            default=settings.DEMO_FOLDER,
            help="Where the demo keeps its database and files (default: .demo in the checkout).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.folder = options["folder"].resolve()
        self._enter_folder()
        self.signals = StopSignals()
        self.children = Children()
        self.port = find_port(options["port"])
        password = self._prepare(keep=options["keep"], seed=not options["no_seed"])
        try:
            self._start()
            self._wait_for_web_server()
            self._greet(password)
            self._watch()
        finally:
            self._stop()

    # Before anything runs

    def _enter_folder(self) -> None:
        """Have this process at the demo's own database, whatever DATABASE_URL was.

        Settings are read before a command can speak, so the command starts itself again.
        """
        environment = {
            "DATABASE_URL": f"sqlite:///{quote(str(self.folder / DATABASE))}",
            "DBQ_DEMO_FOLDER": str(self.folder),
            "DJANGO_ALLOWED_HOSTS": f"{HOST},localhost",
            "DJANGO_DEBUG": "1",
        }
        if any(os.environ.get(key) != value for key, value in environment.items()):
            command = [sys.executable, *sys.orig_argv[1:]]
            os.execve(sys.executable, command, {**os.environ, **environment})  # noqa: S606
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock_folder()

    def _lock_folder(self) -> None:
        # Held by the open file for as long as this process lives.
        self.lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another demo uses {self.folder}; stop it, or give --folder another."
            ) from None

    def _prepare(self, *, keep: bool, seed: bool) -> str:
        """Make database, login and jobs; return the login's new password."""
        if not keep:
            self._remove_last_run()
        self.check()
        call_command("migrate", interactive=False, verbosity=0)
        password = make_operator()
        if seed and not Job.objects.exists():
            self._say(f"Created {seeds.create_jobs()} jobs.")
        connections.close_all()
        return password

    def _remove_last_run(self) -> None:
        # A connection that is open would go on with the removed file.
        connections.close_all()
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", WEB_LOG, manifest.FILE_NAME):
            (self.folder / name).unlink(missing_ok=True)

    # While it runs

    def _start(self) -> None:
        program = (sys.executable, str(settings.BASE_DIR / "manage.py"))
        address = f"{HOST}:{self.port}"
        started = [
            self.children.start(
                WEB_SERVER,
                (*program, "runserver", "--noreload", address),
                log=self.folder / WEB_LOG,
            )
        ]
        for number in range(1, WORKERS + 1):
            started.append(self.children.start(f"worker {number}", (*program, "worker", *QUEUES)))
        for child in started:
            self._say(f"Started {child.name} as process {child.process.pid}.")

    def _wait_for_web_server(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.signals.count and not answers(self.port):
            self._look_for_dead()
            if time.monotonic() > deadline:
                self._give_up(
                    f"The web server did not answer within {START_SECONDS} s; see {self.folder / WEB_LOG}."
                )
            time.sleep(LOOK_SECONDS)

    def _greet(self, password: str) -> None:
        if not self.signals.count:
            self._say(
                f"\n  dbq is at   http://{HOST}:{self.port}/\n"
                f"  user        {OPERATOR}\n"
                f"  password    {password}\n\n"
                "Ctrl-C stops everything. What the workers say:"
            )

    def _watch(self) -> None:
        while not self.signals.count:
            self._look_for_dead()
            time.sleep(LOOK_SECONDS)

    def _look_for_dead(self) -> None:
        for child in self.children.take_ended():
            if child.process.returncode or child.name == WEB_SERVER:
                self._give_up(explain_death(child))
            self._say(f"{child.name.capitalize()} left, as an operator asked it to.")

    def _give_up(self, reason: str) -> NoReturn:
        # Said now, not by a CommandError after everything is stopped: that may take a while.
        with suppress(OSError):
            self.stderr.write(reason)
        raise SystemExit(1)

    # At its end

    def _stop(self) -> None:
        seconds = get_configuration().SHUTDOWN_SECONDS
        if self.children.running:
            self._say(
                f"Stopping: running tasks have {seconds:g} s to end; a second Ctrl-C does not wait for them."
            )
        grace = seconds + EXTRA_GRACE_SECONDS
        for child in self.children.stop(grace, lambda: self.signals.count):
            self._say(f"{child.name.capitalize()} did not stop within {grace:g} s and was killed.")
        self._say("Everything is stopped.")

    def _say(self, text: str) -> None:
        # The terminal may be gone already, and the children must be stopped all the same.
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()


def find_port(wanted: int | None) -> int:
    """The wanted port, if it is free; with no wish the preferred one or any that is free."""
    if wanted is None:
        return PREFERRED_PORT if is_free(PREFERRED_PORT) else find_any_port()
    if not is_free(wanted):
        raise CommandError(f"Port {wanted} of {HOST} cannot be used; give --port another.")
    return wanted


def is_free(port: int) -> bool:
    """Whether a server could listen at that port."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
        except OSError:
            return False
        return True


def find_any_port() -> int:
    """A port that is free right now."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        return server.getsockname()[1]


def answers(port: int) -> bool:
    """Whether a server accepts connections at that port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def explain_death(child: Child) -> str:
    """Say how a program ended that should not have, and where its last words are."""
    where = f"; see {child.log}" if child.log else ""
    return f"{child.name.capitalize()} {child.describe_end()}{where}."


def make_operator() -> str:
    """Make the login, or give it a new password; return the password."""
    password = secrets.token_urlsafe(12)
    operator, _ = get_user_model().objects.get_or_create(
        username=OPERATOR, defaults={"is_staff": True, "is_superuser": True}
    )
    operator.set_password(password)
    operator.save()
    return password
