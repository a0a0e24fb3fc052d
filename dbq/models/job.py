from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, models, router, transaction
from django.db.models import Q
from django.db.models.signals import post_save, pre_save
from django.utils import timezone

from dbq import definitions, signals, wakeup, workspaces
from dbq.definitions import JobDefinition, get_definition
from dbq.dialects import ExactCharField, FailureIndex, KeyConstraint, LaneIndex
from dbq.exceptions import DbqError, DuplicateJob, InvalidJob
from dbq.identifiers import read_moment, uuid7
from dbq.models.texts import KeepsTexts, LazyJSONField
from dbq.querysets import JobQuerySet
from dbq.states import FINISHED, WAITING, Lane, State

if TYPE_CHECKING:
    from dbq.run import TaskRun

UNIQUE_KEY_MAX_LENGTH = 200


class JobManager(models.Manager.from_queryset(JobQuerySet)):  # type: ignore[misc]
    """`create` and `bulk_create` fill a job from its definition; the rest is JobQuerySet."""


class Job(KeepsTexts):
    """A durable piece of work: the tasks of its definition, run in order over one workspace.

    Its row is made by `Job.objects.create(name=…)` and changed by verbs (`retry`, `cancel`, …), never
    by `save()`: a worker may hold it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = ExactCharField(max_length=definitions.NAME_MAX_LENGTH)
    # An empty name and no priority take what the definition says.
    queue_name = ExactCharField(max_length=definitions.QUEUE_NAME_MAX_LENGTH, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.NEW)
    lane = models.SmallIntegerField(choices=Lane.choices, default=Lane.CLAIMABLE, editable=False)
    priority = models.SmallIntegerField(default=None)
    run_after = models.DateTimeField(null=True, blank=True)
    # By name, so that a new version of the definition finds its place again.
    next_task = ExactCharField(max_length=definitions.TASK_MAX_LENGTH)
    # Of next_task: how often it was started, and how often its worker died under it.
    attempt = models.PositiveSmallIntegerField(default=0)
    crash_count = models.PositiveSmallIntegerField(default=0)
    # Rises with every new owner; a worker's write must carry the number it was given.
    fence = models.IntegerField(default=0)
    # Attempts up to this fence belong to an earlier round: the job was requeued since.
    round_fence = models.IntegerField(default=0)
    worker = models.ForeignKey(
        "dbq.Worker",
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="jobs",
        db_constraint=False,
        db_index=False,
    )
    cancel_requested = models.BooleanField(default=False)
    # Held by one unfinished job at a time.
    unique_key = ExactCharField(max_length=UNIQUE_KEY_MAX_LENGTH, null=True)
    workspace = LazyJSONField(default=dict)
    # NULL until the workspace first changes.
    initial_workspace = LazyJSONField(null=True)
    definition_hash = models.CharField(max_length=16)
    # {"done": …, "total": …, "note": …}
    progress = LazyJSONField(null=True)
    error_type = models.CharField(max_length=200, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    fingerprint = models.CharField(max_length=16, blank=True, default="")
    created = models.DateTimeField()
    # Since when it has been waiting and due; what waits are measured from.
    enqueued = models.DateTimeField()
    started = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)
    # Rises with every change; what a form was made from must still be true when it is sent.
    version = models.IntegerField(default=0)

    objects = JobManager()

    # Set while a worker runs one of the job's tasks.
    _run: TaskRun | None = None
    # Of the worker that claimed it, in that worker's process: for its log lines.
    _worker_name: str = ""

    class Meta:
        db_table = "dbq_job"
        get_latest_by = "id"
        indexes = (
            LaneIndex(lane=Lane.CLAIMABLE, fields=["queue_name", "-priority", "id"], name="dbq_job_claim"),
            # With the queue, so that counting the scheduled by queue reads no row.
            LaneIndex(lane=Lane.WAITING, fields=["run_after", "queue_name"], name="dbq_job_due"),
            LaneIndex(lane=Lane.RUNNING, fields=["worker"], name="dbq_job_running"),
            # With all that a preview of a clean-up groups by, so that it reads no row.
            LaneIndex(
                lane=Lane.FINISHED, fields=["created", "id", "queue_name", "state"], name="dbq_job_retention"
            ),
            LaneIndex(lane=Lane.FINISHED, fields=["state", "finished", "id"], name="dbq_job_finished"),
            FailureIndex(fields=["fingerprint", "finished", "id"], name="dbq_job_failure"),
        )
        constraints = (
            KeyConstraint(field="unique_key", name="dbq_job_unique_key"),
            models.CheckConstraint(
                name="dbq_job_lane_matches_state",
                condition=(
                    Q(lane=Lane.FINISHED, state__in=FINISHED, finished__isnull=False)
                    | Q(lane__in=(Lane.CLAIMABLE, Lane.WAITING), state__in=WAITING)
                    | Q(lane=Lane.RUNNING, state=State.PROCESSING, worker__isnull=False)
                ),
            ),
        )
        permissions = (
            ("retry_job", "Can retry jobs and resume them from a task"),
            ("requeue_job", "Can requeue jobs from their first task"),
            ("cancel_job", "Can cancel jobs"),
            ("change_workspace", "Can edit workspaces"),
            ("reveal_workspace", "Can see masked values in workspaces"),
            ("run_cleanup", "Can delete old finished jobs"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    # Creation

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert a new job; refuse to overwrite one that exists."""
        if not self._state.adding:
            raise DbqError(
                f"Job {self.id} exists: its row is changed by verbs (retry, requeue, cancel, reschedule,"
                " edit_workspace, and checkpoint within a task), not by save()."
            )
        self.prepare()
        alias = kwargs.get("using") or router.db_for_write(Job, instance=self)
        try:
            # A savepoint only where an error is expected: it costs two round trips.
            with transaction.atomic(using=alias) if self.unique_key else nullcontext():
                self._insert(alias, *args, **kwargs)
        except IntegrityError:
            self._explain_duplicate(alias)
            raise
        announce_created([self], alias)

    def _insert(self, alias: str, *args: Any, **kwargs: Any) -> None:
        if pre_save.has_listeners(Job) or post_save.has_listeners(Job):
            super().save(*args, **{**kwargs, "force_insert": True})
            return
        from dbq.creation import insert

        insert(self, alias)

    def prepare(self) -> None:
        """Fill a new job from its definition, run the creation hook and check the result.

        Raises UnknownJobName, InvalidJob, or whatever the creation hook raises.
        """
        definition = get_definition(self.name)
        self._fill(definition)
        self._check()
        if definition.creation_hook:
            definitions.load(definition.creation_hook)(self)
            self._check()

    def _fill(self, definition: JobDefinition) -> None:
        now = timezone.now()
        self.queue_name = self.queue_name or definition.queue_name
        self.priority = definition.priority if self.priority is None else self.priority
        self.workspace = {} if self.workspace is None else self.workspace
        self.next_task = definition.first_task
        self.definition_hash = definition.hash
        # One and the same: a range of ids is a range of times, in every lane and without an index more.
        self.created = _read_age(self.id)
        self.enqueued = now
        self.state = State.NEW

    def _check(self) -> None:
        if not definitions.is_queue_name(self.queue_name):
            raise InvalidJob(f"{definitions.QUEUE_NAME_RULE.capitalize()}, not {self.queue_name!r}.")
        if not definitions.is_priority(self.priority):
            limit = definitions.PRIORITY_LIMIT
            raise InvalidJob(
                f"A priority must be a whole number from -{limit} to {limit}, not {self.priority!r}."
            )
        self._check_unique_key()
        workspaces.serialize(self.workspace)
        self.lane = find_lane(self.run_after)

    def _check_unique_key(self) -> None:
        key = self.unique_key
        if key is None:
            return
        is_text = isinstance(key, str) and workspaces.is_storable(key)
        if not is_text or not 0 < len(key) <= UNIQUE_KEY_MAX_LENGTH:
            raise InvalidJob(
                f"A unique key must be a text of 1 to {UNIQUE_KEY_MAX_LENGTH} characters, not {key!r}."
            )

    def _explain_duplicate(self, alias: str) -> None:
        jobs = Job.objects.using(alias)
        if self.unique_key and not jobs.filter(pk=self.pk).exists():
            holders = jobs.filter(unique_key=self.unique_key)
            raise DuplicateJob(self.unique_key, holders.values_list("pk", flat=True).first())

    # Within a task

    def checkpoint(self) -> None:
        """Keep the workspace as it is now, whatever happens to the rest of the task.

        Returns once it is committed. Raises LeaseLost when the job belongs to somebody else by now,
        JobCancelled when an operator asked for its end, InvalidWorkspace, or DbqError outside of a task.
        """
        self._get_run().checkpoint()

    def set_progress(self, done: float, total: float, note: str = "") -> None:
        """Show how far the task is; written about once a second, with the worker's other writes."""
        self._get_run().set_progress(done, total, note)

    def _get_run(self) -> TaskRun:
        if self._run is None:
            raise DbqError(f"Job {self.id} is not being run by a worker here.")
        return self._run

    # Verbs

    def retry(self, version: int | None = None) -> bool:
        """Set a failed or cancelled job going again at the task that did not end.

        Returns whether it moved; with `version`, only if nobody has changed the job since.
        """
        from dbq import transitions

        return bool(transitions.retry(self._only_me(version)))

    def requeue(self, version: int | None = None) -> bool:
        """Set a finished job going again from its first task, with the workspace it was created with."""
        from dbq import transitions

        return bool(transitions.requeue(self._only_me(version)))

    def resume_from(self, task: str, version: int | None = None) -> bool:
        """Set a finished job going again from an earlier task, with the workspace as it stood before it.

        Raises InvalidJob when the task is not in the job's definition or never ran.
        """
        from dbq import transitions

        return transitions.resume_from(self._only_me(version), task)

    def cancel(self, version: int | None = None) -> bool:
        """Cancel a waiting job, or ask a running one to end at its next checkpoint or task edge."""
        from dbq import transitions

        return bool(transitions.cancel(self._only_me(version)))

    def reschedule(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | None = None,
        version: int | None = None,
    ) -> bool:
        """Change the place or the time of a waiting job; what is not given stays."""
        from dbq import transitions

        return transitions.reschedule(
            self._only_me(version), priority=priority, queue_name=queue_name, run_after=run_after
        )

    def edit_workspace(self, workspace: dict, version: int | None = None) -> bool:
        """Replace the workspace of a job that no worker holds and that is not completed."""
        from dbq import transitions

        return transitions.edit_workspace(self._only_me(version), workspace)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete a finished job with its history; raise JobNotFinished for any other."""
        return self._only_me().delete()

    def workspace_before(self, task: str) -> dict:
        """The workspace as it stood before the last runs of `task`; raise InvalidJob if there were none."""
        from dbq import history

        return history.rebuild_workspace(self, task)

    def workspace_to_resume(self, task: str) -> dict:
        """What `resume_from(task)` would set: that workspace, with the edits operators made since.

        Raises InvalidJob when the task never ran, or when an edit does not fit.
        """
        from dbq import history

        return history.rebuild_workspace_to_resume(self, task)

    def _only_me(self, version: int | None = None) -> JobQuerySet:
        jobs = Job.objects.using(self._state.db).filter(pk=self.pk)
        return jobs if version is None else jobs.filter(version=version)

    # Reading

    @property
    def definition(self) -> JobDefinition | None:
        """The entry of settings.JOBS this job follows; None when the settings no longer have it."""
        return definitions.get_definitions().get(self.name)

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @staticmethod
    def get_queue_depths(*, exclude_future_jobs: bool = False) -> dict[str, int]:
        """Jobs that wait, by queue name; scheduled ones too unless they are excluded."""
        return Job.objects.all().count_waiting(exclude_future_jobs=exclude_future_jobs)


def _read_age(identifier: Any) -> datetime:
    try:
        return read_moment(UUID(str(identifier)))
    except (ValueError, OverflowError):
        raise InvalidJob(
            f"A job's id must be a UUID of version 7, which tells when it was made, not {identifier!r}."
        ) from None


def find_lane(run_after: Any) -> Lane:
    """The lane of a waiting job with that time; raise InvalidJob when it is not a time with a zone."""
    if run_after is None:
        return Lane.CLAIMABLE
    if not isinstance(run_after, datetime) or timezone.is_naive(run_after):
        raise InvalidJob(f"run_after must be a datetime with a time zone, not {run_after!r}.")
    return Lane.WAITING if run_after > timezone.now() else Lane.CLAIMABLE


def announce_created(jobs: Iterable[Job], alias: str) -> None:
    """Tell workers and listeners about new jobs, once they are committed."""
    queue_names = {job.queue_name for job in jobs if job.lane == Lane.CLAIMABLE}
    if queue_names:
        wakeup.call_after_commit(alias, queue_names)
    if signals.job_created.receivers:
        for job in jobs:
            tell = partial(signals.announce, signals.job_created, Job, job=job)
            transaction.on_commit(tell, using=alias)
