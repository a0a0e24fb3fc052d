from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from dbq import workspaces
from dbq.exceptions import DbqError
from dbq.models import Job


class Command(BaseCommand):
    help = "Create a job and print its id."
    # One line in, one line out: warnings about the project belong to `check` and to the worker.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="A name in settings.JOBS.")
        parser.add_argument("--queue_name", default="", help="Default: as settings.JOBS says.")
        parser.add_argument("--workspace", default="{}", metavar="JSON", help="A JSON object.")
        parser.add_argument("--priority", type=int, help="Higher runs first.")
        parser.add_argument("--run_after", metavar="ISO", help="A time, as 2030-01-31T08:00:00Z.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            job = Job.objects.create(
                name=options["name"],
                workspace=workspaces.parse(options["workspace"]),
                queue_name=options["queue_name"],
                priority=options["priority"],
                run_after=self._parse_time(options["run_after"]),
            )
        except DbqError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(str(job.id))

    def _parse_time(self, text: str | None) -> Any:
        if text is None:
            return None
        try:
            moment = parse_datetime(text)
        except ValueError:
            moment = None
        if moment is None:
            raise CommandError(f'--run_after must be a time such as 2030-01-31T08:00:00Z, not "{text}".')
        return make_aware(moment) if is_naive(moment) else moment
