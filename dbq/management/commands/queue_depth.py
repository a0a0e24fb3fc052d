from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from dbq.models import Job


class Command(BaseCommand):
    help = "Print how many jobs wait in queues, in one line for probes and logs."
    # One line in, one line out: warnings about the project belong to `check` and to the worker.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue_names", nargs="*", metavar="queue_name", help='Default: "default".')
        parser.add_argument(
            "--exclude_future_jobs", action="store_true", help="Leave out jobs scheduled for later."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        depths = Job.get_queue_depths(exclude_future_jobs=options["exclude_future_jobs"])
        names = options["queue_names"] or ["default"]
        figures = " ".join(f"{name}={depths.get(name, 0)}" for name in names)
        self.stdout.write(f"event=queue_depths {figures}")
