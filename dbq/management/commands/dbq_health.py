import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dbq import findings, health
from dbq.definitions import QUEUE_NAME_RULE, is_queue_name
from dbq.health import Finding


def queue_name(text: str) -> str:
    if not is_queue_name(text):
        raise argparse.ArgumentTypeError(f"{QUEUE_NAME_RULE}, not {text!r}.")
    return text


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}.")
    return number


class Command(BaseCommand):
    help = "Say what is not well, a line each; leave with status 0 (well), 1 (degraded) or 2 (down)."
    # A database that is down is what this command is to tell, not what it is to fail from.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "queue_names",
            nargs="*",
            type=queue_name,
            metavar="queue_name",
            help="Look at these queues only; without any, at all.",
        )
        parser.add_argument(
            "--warn",
            type=seconds,
            default=health.OLD_SECONDS,
            metavar="SECONDS",
            help=f"A due job that waits so long is a warning (default {health.OLD_SECONDS}).",
        )
        parser.add_argument(
            "--critical",
            type=seconds,
            default=health.VERY_OLD_SECONDS,
            metavar="SECONDS",
            help=f"A due job that waits so long is an alarm (default {health.VERY_OLD_SECONDS}).",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of lines.")

    def handle(self, *args: Any, **options: Any) -> None:
        warn, critical = options["warn"], options["critical"]
        if warn > critical:
            message = f"--warn ({warn:g} s) must not be above --critical ({critical:g} s)."
            # 1 would say that the queues are degraded.
            raise CommandError(message, returncode=2)
        found = findings.find(options["queue_names"], warn_seconds=warn, critical_seconds=critical)
        if options["json"]:
            self.stdout.write(json.dumps(health.describe(found, with_details=True), ensure_ascii=False))
        else:
            for line in map(write_line, found or [Finding("good", "well", "Nothing is wrong.")]):
                self.stdout.write(line)
        status = health.find_status(found)
        if status:
            raise SystemExit(status)


def write_line(finding: Finding) -> str:
    """alarm: Queue "mail": No live worker serves it, with 3 jobs due."""
    queue = f'Queue "{finding.queue_name}": ' if finding.queue_name else ""
    detail = f" ({finding.detail})" if finding.detail else ""
    return " ".join(f"{finding.level}: {queue}{finding.reason}{detail}".split())
