from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, models, router, transaction
from django.db.models import Count

from dbq.dialects.base import DatabaseNow
from dbq.exceptions import DuplicateJob, JobNotFinished
from dbq.states import FINISHED, Lane


class JobQuerySet(models.QuerySet):
    """Adjectives narrow the jobs down; verbs act on all of them and return how many moved."""

    # The alias that `using()` named, if it did.
    _db: str | None

    def waiting(self) -> JobQuerySet:
        """Jobs that no worker holds and that are not finished, scheduled ones included."""
        return self.filter(lane__in=(Lane.CLAIMABLE, Lane.WAITING))

    def due(self) -> JobQuerySet:
        """Waiting jobs that a worker may claim now."""
        return self.filter(
            models.Q(lane=Lane.CLAIMABLE) | models.Q(lane=Lane.WAITING, run_after__lte=DatabaseNow())
        )

    def scheduled(self) -> JobQuerySet:
        """Waiting jobs whose time has not come."""
        return self.filter(lane=Lane.WAITING, run_after__gt=DatabaseNow())

    def running(self) -> JobQuerySet:
        return self.filter(lane=Lane.RUNNING)

    def finished(self) -> JobQuerySet:
        return self.filter(lane=Lane.FINISHED)

    def count_waiting(self, *, exclude_future_jobs: bool = False) -> dict[str, int]:
        """How many jobs wait, by queue name."""
        due = models.Q(run_after__lte=DatabaseNow()) if exclude_future_jobs else models.Q()
        depths: Counter[str] = Counter()
        # One statement for each lane: neither its index nor a plan reads the finished jobs.
        for jobs in (self.filter(lane=Lane.CLAIMABLE), self.filter(due, lane=Lane.WAITING)):
            depths.update(dict(jobs.order_by().values_list("queue_name").annotate(n=Count("pk"))))
        return dict(sorted(depths.items()))

    # Creation

    def bulk_create(
        self, objs: Iterable[Any], batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Insert many jobs in few statements, filled and checked as `create` does it.

        Args:
            objs: jobs that are not saved yet.
            batch_size: how many rows a statement may have.

        The creation hook of each job runs, in order, before anything is inserted; if one raises, no
        job is. Signals: job_created for each, after the commit; none of Django's save signals.
        Raises DuplicateJob if an unfinished job, or an earlier one of these, holds a unique key.
        """
        if any(args) or any(kwargs.values()):
            raise ValueError("Jobs are created or refused; bulk_create takes no conflict options.")
        from dbq.creation import insert_many
        from dbq.models.job import announce_created

        jobs = list(objs)
        for job in jobs:
            job.prepare()
        alias = self._db or router.db_for_write(self.model)
        keyed = _check_keys(jobs)
        try:
            # A savepoint only where an error is expected, as `Job.save` does it.
            with transaction.atomic(using=alias) if keyed else nullcontext():
                insert_many(jobs, alias, batch_size)
        except IntegrityError:
            holder: Any = self.model._base_manager.using(alias).filter(unique_key__in=list(keyed)).first()
            if holder is not None:
                raise DuplicateJob(holder.unique_key, holder.pk) from None
            raise
        announce_created(jobs, alias)
        return jobs

    # Verbs

    def retry(self) -> int:
        """Set the failed and cancelled jobs going again at the task that did not end."""
        from dbq import transitions

        return len(transitions.retry(self))

    def requeue(self) -> int:
        """Set the finished jobs going again from their first task, with the original workspace."""
        from dbq import transitions

        return len(transitions.requeue(self))

    def cancel(self) -> int:
        """Cancel the waiting jobs, and ask the running ones to end."""
        from dbq import transitions

        return len(transitions.cancel(self))

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete finished jobs with their history; raise JobNotFinished if others are among them."""
        from dbq import transitions

        alias = self._db or router.db_for_write(self.model)
        jobs = self.using(alias)
        # All or nothing, as Django's own delete.
        with transaction.atomic(using=alias):
            deleted = transitions.delete(jobs)
            left: Any = jobs.exclude(lane=Lane.FINISHED).order_by("pk").first()
            if left is not None:
                raise JobNotFinished(
                    f"Job {left.pk} is {left.state}: only finished jobs are deleted; cancel it first."
                )
        return deleted, {self.model._meta.label: deleted}

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def delete_old(self, hours: float = 24, queue_name: str | None = None, *, dry_run: bool = False) -> int:
        """Delete finished jobs that were created more than `hours` ago, a chunk at a time.

        Args:
            hours: the age, by the database's clock.
            queue_name: only of this queue.
            dry_run: count them, delete nothing.

        Returns: how many were, or would be, deleted. A job that is waiting or running never is.
        """
        from dbq import transitions

        jobs = self.old(hours)
        if queue_name is not None:
            jobs = jobs.filter(queue_name=queue_name)
        return jobs.count() if dry_run else transitions.delete(jobs, pause=True)

    def old(self, hours: float) -> JobQuerySet:
        """Finished jobs that were created more than `hours` ago."""
        return self.filter(
            lane=Lane.FINISHED, state__in=FINISHED, created__lt=DatabaseNow() - timedelta(hours=hours)
        )


def _check_keys(jobs: Iterable[Any]) -> dict[str, Any]:
    """The jobs that hold a unique key, by that key; raise DuplicateJob if two hold the same."""
    keyed: dict[str, Any] = {}
    for job in jobs:
        if job.unique_key and keyed.setdefault(job.unique_key, job) is not job:
            raise DuplicateJob(job.unique_key, keyed[job.unique_key].pk)
    return keyed
