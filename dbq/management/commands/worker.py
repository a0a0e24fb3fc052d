import argparse
import os
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dbq import logs, reloading
from dbq.board import Board
from dbq.checks import OF_WORKERS
from dbq.definitions import QUEUE_NAME_RULE, get_definitions, is_queue_name
from dbq.engine import Engine
from dbq.exceptions import DbqError
from dbq.runner import Runner
from dbq.supervisor import Supervisor


def queue_name(text: str) -> str:
    if not is_queue_name(text):
        raise argparse.ArgumentTypeError(f"{QUEUE_NAME_RULE}, not {text!r}.")
    return text


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}.")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 86400:
        raise argparse.ArgumentTypeError(f"must be from 0 to 86400 seconds, not {text}.")
    return number


class Command(BaseCommand):
    help = "Run the jobs of one or more queues, until told to stop."
    requires_system_checks = (Tags.models, OF_WORKERS)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "queue_names",
            nargs="*",
            type=queue_name,
            metavar="queue_name",
            help='The queues to serve; "default" if none is named.',
        )
        parser.add_argument(
            "--processes", type=positive, default=1, metavar="N", help="Worker processes (default 1)."
        )
        parser.add_argument(
            "--threads",
            type=positive,
            default=1,
            metavar="N",
            help="Tasks at once in each process (default 1).",
        )
        parser.add_argument("--burst", action="store_true", help="Leave when nothing is due.")
        parser.add_argument(
            "--rate_limit",
            type=seconds,
            default=0,
            metavar="SECONDS",
            help="Start at most one job in so many seconds, in each process.",
        )
        parser.add_argument(
            "--reload", action="store_true", help="Start afresh when code changes; for development."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        logs.log_to_terminal(options["verbosity"])
        self._refuse_bad_settings()
        code = reloading.run_reloading() if options["reload"] else self._supervise(options)
        if code:
            raise SystemExit(code)

    def _refuse_bad_settings(self) -> None:
        try:
            get_definitions()
        except DbqError as error:
            raise CommandError(str(error)) from error

    def _supervise(self, options: dict[str, Any]) -> int:
        supervisor_pid = os.getpid()

        def work(board: Board) -> int:
            engine = Engine(
                options["queue_names"] or ["default"],
                threads=options["threads"],
                rate_limit=options["rate_limit"],
                board=board,
                supervisor_pid=supervisor_pid,
            )
            return Runner(engine, burst=options["burst"]).run()

        return Supervisor(work, options["processes"], options["threads"]).run()
