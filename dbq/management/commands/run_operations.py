from typing import Any

from django.core.management.base import BaseCommand
from django.db import router

from dbq import bulk
from dbq.models import Job


class Command(BaseCommand):
    help = "Carry out what operators confirmed for many jobs, where no worker runs to do it."

    def handle(self, *args: Any, **options: Any) -> None:
        alias = router.db_for_write(Job)
        chunks = bulk.run_for(alias, seconds=float("inf"))
        noun = "chunk" if chunks == 1 else "chunks"
        self.stdout.write(f"Did {chunks} {noun} of {bulk.CHUNK} jobs at most.")
