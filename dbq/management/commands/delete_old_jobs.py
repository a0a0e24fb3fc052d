import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from dbq import bulk, operations
from dbq.models import Job
from dbq.operations import Actor

MAX_HOURS = 24 * 366 * 100


def hours(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_HOURS:
        raise argparse.ArgumentTypeError(f"must be 0 or more hours, at most {MAX_HOURS}, not {text}.")
    return number


class Command(BaseCommand):
    help = "Delete finished jobs that were created long ago; waiting and running ones never."
    # One line in, one line out: warnings about the project belong to `check` and to the worker.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hours", type=hours, default=24, help="Older than so many hours (default 24).")
        parser.add_argument("--queue_name", help="Only of this queue.")
        parser.add_argument("--dry-run", action="store_true", help="Say how many, delete nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        amount = Job.objects.all().delete_old(
            options["hours"], options["queue_name"], dry_run=options["dry_run"]
        )
        if not options["dry_run"]:
            queue_names = [options["queue_name"]] if options["queue_name"] else []
            criteria = bulk.describe_old(options["hours"], queue_names)
            operations.record_cleanup(Actor.from_system(), amount, criteria)
        did = "Would delete" if options["dry_run"] else "Deleted"
        noun = "job" if amount == 1 else "jobs"
        self.stdout.write(f"{did} {amount} finished {noun} older than {options['hours']:g} hours.")
