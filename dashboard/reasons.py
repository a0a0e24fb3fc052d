"""Why a job is not running, in one sentence; and what became of one that is finished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard import durations
from dashboard.numbers import group
from dbq.conf import get_configuration
from dbq.health import judge_wait
from dbq.models import Job, Queue, Worker
from dbq.states import Lane, State
from dbq.verbs import get_short_name

AHEAD_MAX = 1_000
WORKERS_MAX = 1_000


@dataclass(frozen=True)
class Reason:
    """A sentence, the same in a few words for a row, and how it is meant: calm, warning or alarm."""

    text: str
    brief: str = ""
    level: str = "calm"


@dataclass(frozen=True)
class Surroundings:
    """What jobs wait for beside themselves, read once for a whole page."""

    paused: dict[str, Queue] = field(default_factory=dict)
    served: frozenset[str] = frozenset()

    @classmethod
    def read_for(cls, jobs: Iterable[Job]) -> Surroundings:
        """What these jobs may wait for; nothing is asked if none of them waits."""
        return cls.read() if any(job.lane in (Lane.CLAIMABLE, Lane.WAITING) for job in jobs) else cls()

    @classmethod
    def read(cls) -> Surroundings:
        workers = Worker.objects.alive().values_list("queue_names", flat=True)[:WORKERS_MAX]
        return cls(
            paused={queue.name: queue for queue in Queue.objects.paused()},
            served=frozenset(name for names in workers for name in names),
        )

    def explain_briefly(self, job: Job) -> Reason | None:
        """What holds a job back, for a row; None when nothing out of the ordinary does."""
        if job.state == State.PROCESSING:
            return _explain_asked_to_end() if job.cancel_requested else None
        if job.is_finished:
            return None
        return self.find_obstacle(job) or _explain_lateness(job)

    def find_obstacle(self, job: Job) -> Reason | None:
        """What a waiting job waits for beside its turn."""
        return (
            _explain_definition(job)
            or self._explain_pause(job)
            or _explain_time(job)
            or self._explain_service(job)
        )

    def _explain_pause(self, job: Job) -> Reason | None:
        queue = self.paused.get(job.queue_name)
        if queue is None or queue.paused_at is None:
            return None
        text = _('The queue "%(queue)s" was paused by %(actor)s %(when)s') % {
            "queue": queue.name,
            "actor": queue.paused_by or _("somebody"),
            "when": durations.describe_distance(queue.paused_at),
        }
        if queue.paused_reason:
            text = _("%(text)s, because: %(reason)s") % {"text": text, "reason": queue.paused_reason}
        if queue.paused_until:
            until = durations.describe_distance(queue.paused_until)
            text = _("%(text)s. It resumes by itself %(when)s") % {"text": text, "when": until}
        return Reason(f"{text.rstrip('.')}.", _("queue paused"), "warning")

    def _explain_service(self, job: Job) -> Reason | None:
        if job.queue_name in self.served:
            return None
        text = _('No live worker serves the queue "%(queue)s".') % {"queue": job.queue_name}
        return Reason(text, _("no live worker"), "alarm")


def explain(job: Job, surroundings: Surroundings) -> Reason:
    """Why the job is where it is, whatever its state."""
    if job.state == State.PROCESSING:
        return _explain_run(job)
    if job.is_finished:
        return _explain_end(job)
    return surroundings.find_obstacle(job) or _explain_turn(job)


# Waiting


def _explain_definition(job: Job) -> Reason | None:
    definition = job.definition
    if definition is None:
        text = _('settings.JOBS of this process has no "%(name)s"; no worker with these settings claims it.')
        return Reason(text % {"name": job.name}, _("not in settings.JOBS"), "alarm")
    if job.next_task in definition.tasks:
        return None
    text = _('JOBS["%(name)s"] has no task "%(task)s" any more; the job waits for a worker that has it.')
    return Reason(text % {"name": job.name, "task": job.next_task}, _("task not in settings.JOBS"), "alarm")


def _explain_time(job: Job) -> Reason | None:
    if job.run_after is None or job.lane != Lane.WAITING:
        return None
    when = durations.describe_distance(job.run_after)
    if job.run_after <= timezone.now():
        text = _("Its time came %(when)s; the next look of a worker makes it claimable.") % {"when": when}
        return Reason(text, _("due"))
    if job.attempt:
        text = _('The task "%(task)s" failed %(number)s; it tries again %(when)s.') % {
            "task": get_short_name(job.next_task),
            "number": ngettext("%(n)d time", "%(n)d times", job.attempt) % {"n": job.attempt},
            "when": when,
        }
        return Reason(text, _("tries again %(when)s") % {"when": when})
    return Reason(_("Scheduled: it is due %(when)s.") % {"when": when}, _("due %(when)s") % {"when": when})


def _explain_lateness(job: Job) -> Reason | None:
    """For a row: its queue's light turns at the same ages."""
    age = (timezone.now() - job.enqueued).total_seconds()
    level = judge_wait(age)
    if level == "good":
        return None
    text = _("It has waited %(age)s for its turn.")
    words = {"age": durations.describe_coarsely(age)}
    return Reason(text % words, _("waits %(age)s") % words, level)


def _explain_turn(job: Job) -> Reason:
    ahead = count_ahead(job)
    if ahead > AHEAD_MAX:
        return Reason(
            _('More than %(n)s jobs are ahead of it in the queue "%(queue)s".')
            % {"n": group(AHEAD_MAX), "queue": job.queue_name}
        )
    if ahead:
        sentence = ngettext(
            'One job is ahead of it in the queue "%(queue)s".',
            '%(n)s jobs are ahead of it in the queue "%(queue)s".',
            ahead,
        )
        return Reason(sentence % {"n": group(ahead), "queue": job.queue_name})
    return Reason(_("It is next: the first free worker of its queue claims it."))


def count_ahead(job: Job) -> int:
    """Claimable jobs of the queue whose turn comes first; one more than the bound if there are more."""
    ahead = Job.objects.filter(
        Q(priority__gt=job.priority) | Q(priority=job.priority, id__lt=job.pk),
        lane=Lane.CLAIMABLE,
        queue_name=job.queue_name,
        priority__gte=job.priority,
    )
    return ahead.order_by("-priority", "id").values("pk")[: AHEAD_MAX + 1].count()


# Running


def _explain_asked_to_end() -> Reason:
    return Reason(
        _("Asked to end; it does so at its next checkpoint or before its next task."),
        _("asked to end"),
        "warning",
    )


def _explain_run(job: Job) -> Reason:
    worker = Worker.objects.filter(pk=job.worker_id).first() if job.worker_id else None
    if worker is None:
        return Reason(
            _("Its worker is gone; the next sweep of any worker gives the job back to its queue."),
            level="alarm",
        )
    if job.cancel_requested:
        return _explain_asked_to_end()
    silence = (timezone.now() - worker.beat).total_seconds()
    if worker.expires_at is None or worker.expires_at <= timezone.now():
        return _explain_lost(worker, silence)
    if silence > 3 * get_configuration().HEARTBEAT_SECONDS:
        return Reason(
            _("Its worker %(worker)s stopped beating %(when)s ago; its lease runs out %(until)s.")
            % {
                "worker": worker.name,
                "when": durations.describe(silence),
                "until": durations.describe_distance(worker.expires_at),
            },
            level="warning",
        )
    return Reason(
        _('The task "%(task)s" runs on %(worker)s.')
        % {"task": get_short_name(job.next_task), "worker": worker.name}
    )


def _explain_lost(worker: Worker, silence: float) -> Reason:
    text = _(
        "Its worker %(worker)s stopped beating %(when)s ago and its lease ran out;"
        " the next sweep of any worker gives the job back to its queue."
    )
    return Reason(text % {"worker": worker.name, "when": durations.describe(silence)}, level="alarm")


# Finished


def _explain_end(job: Job) -> Reason:
    when = _say_when(job.finished)
    task = get_short_name(job.next_task)
    if job.state == State.COMPLETED:
        return Reason(_("All its tasks ran to their end %(when)s.") % {"when": when})
    if job.state == State.CANCELLED:
        return Reason(_('It was cancelled %(when)s, before or in "%(task)s".') % {"when": when, "task": task})
    return Reason(
        _('The task "%(task)s" failed %(when)s with %(error)s.')
        % {"task": task, "when": when, "error": _isolate(job.error_type) or _("an error")},
        level="alarm",
    )


def _isolate(text: str) -> str:
    """A text from outside whose direction marks must not turn the sentence around it."""
    return text if text.isascii() else f"\u2068{text}\u2069"


def _say_when(moment: datetime | None) -> str:
    return durations.describe_distance(moment) if moment else ""
