from typing import Any

from django.core.management.base import BaseCommand
from django.db import router

from dbq import counts
from dbq.models import Job


class Command(BaseCommand):
    help = "Take the totals of finished jobs from the jobs themselves, and say which were off."

    def handle(self, *args: Any, **options: Any) -> None:
        drift = counts.recount(router.db_for_write(Job))
        for (queue_name, state), difference in sorted(drift.items()):
            self.stdout.write(f"{queue_name} {state} was off by {-difference:+d}.")
        if not drift:
            self.stdout.write("All totals were exact.")
