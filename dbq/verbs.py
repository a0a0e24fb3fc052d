"""What an operator can do: the permission each act needs, and what it does, in words for buttons.

Both doors, the dashboard and the admin, say and check the same, because they read it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext, gettext_lazy, ngettext

from dbq.states import FINISHED, REQUEUEABLE, RETRYABLE, WAITING, State

if TYPE_CHECKING:
    from dbq.models.job import Job


@dataclass(frozen=True)
class Verb:
    """One act: its name in records, its permission, its button, and what it does to each job."""

    name: str
    permission: str
    label: Any
    # "Retried", "Requeued": what a record of it says.
    past: Any
    # One sentence, for a confirmation; empty for acts that need none.
    effect: Any = ""
    # The states of a job it can act on; empty for acts that are not about a job.
    states: tuple[State, ...] = ()
    # Whether it can be done to all jobs that match.
    is_bulk: bool = False
    # Whether what it does cannot be undone.
    is_final: bool = False


_ = gettext_lazy

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "retry",
            "dbq.retry_job",
            _("Retry"),
            _("Retried"),
            _(
                "Each failed or cancelled job goes on at the task that did not end, with the"
                " workspace of its last checkpoint."
            ),
            RETRYABLE,
            is_bulk=True,
        ),
        Verb(
            "requeue",
            "dbq.requeue_job",
            _("Requeue"),
            _("Requeued"),
            _(
                "Each finished job starts again from its first task, with the workspace it was"
                " created with. What its tasks did outside of it, they do again."
            ),
            REQUEUEABLE,
            is_bulk=True,
        ),
        Verb(
            "resume_from",
            "dbq.retry_job",
            _("Resume from"),
            _("Resumed"),
            _("The job goes on at the chosen task, with the workspace as it stood before it."),
            FINISHED,
        ),
        Verb(
            "cancel",
            "dbq.cancel_job",
            _("Cancel"),
            _("Cancelled"),
            _(
                "A waiting job is cancelled at once; a running one is asked to end, and does so at"
                " its next checkpoint or before its next task."
            ),
            (*WAITING, State.PROCESSING),
            is_bulk=True,
        ),
        Verb(
            "delete",
            "dbq.delete_job",
            _("Delete"),
            _("Deleted"),
            _("Each finished job is deleted with its history. This cannot be undone."),
            FINISHED,
            is_bulk=True,
            is_final=True,
        ),
        Verb(
            "reschedule",
            "dbq.change_job",
            _("Reschedule"),
            _("Rescheduled"),
            _("The waiting job gets another priority, queue or time; its tasks stay as they are."),
            WAITING,
        ),
        Verb(
            "edit_workspace",
            "dbq.change_workspace",
            _("Edit workspace"),
            _("Workspace edited"),
            _("The next task begins with the workspace as you leave it here."),
            (*WAITING, *RETRYABLE),
        ),
        Verb("create", "dbq.add_job", _("Create"), _("Created")),
        Verb("export", "dbq.view_job", _("Export"), _("Exported")),
        Verb("reveal", "dbq.reveal_workspace", _("Reveal"), _("Revealed masked values")),
        Verb(
            "pause_queue",
            "dbq.pause_queue",
            _("Pause queue"),
            _("Queue paused"),
            _("No more jobs of the queue are claimed; running tasks end, and their jobs wait."),
        ),
        Verb(
            "resume_queue",
            "dbq.pause_queue",
            _("Resume queue"),
            _("Queue resumed"),
            _("Jobs of the queue are claimed again."),
        ),
        Verb(
            "stop_worker",
            "dbq.change_worker",
            _("Stop worker"),
            _("Worker asked to stop"),
            _(
                "The worker claims nothing more, lets its running tasks end within its time for"
                " that, gives back the rest and exits."
            ),
        ),
        Verb(
            "rescue_workers",
            "dbq.change_worker",
            _("Rescue jobs of dead workers"),
            _("Jobs of dead workers rescued"),
            _("Jobs whose worker's lease ran out go back to their queues."),
        ),
        Verb(
            "cleanup",
            "dbq.run_cleanup",
            _("Clean up"),
            _("Cleaned up"),
            _(
                "Finished jobs past their age are deleted with their history; waiting and running"
                " ones are never touched. This cannot be undone."
            ),
            FINISHED,
            is_bulk=True,
            is_final=True,
        ),
        Verb("stop_operation", "", _("Stop operation"), _("Operation stopped")),
    )
}


def describe(verb: str, job: Job, task: str = "") -> str:
    """Say in one sentence what a verb will do to this job; `task` is where `resume_from` begins."""
    if verb == "retry":
        return _describe_run(job, job.next_task, gettext("the workspace of its last checkpoint"))
    if verb == "requeue":
        first = job.definition.first_task if job.definition else job.next_task
        return _describe_run(job, first, gettext("the workspace it was created with"))
    if verb == "resume_from":
        return _describe_run(job, task, gettext("the workspace as it stood before that task"))
    if verb == "cancel" and job.state == State.PROCESSING:
        return gettext("Asks the job to end; it does so at its next checkpoint or before its next task.")
    if verb == "cancel":
        return gettext("Cancels the job; none of its tasks will start.")
    return str(VERBS[verb].effect)


def _describe_run(job: Job, first: str, workspace: str) -> str:
    definition = job.definition
    if definition is None:
        return gettext('settings.JOBS has no "%(name)s" any more: no worker can run it.') % {"name": job.name}
    if first not in definition.tasks:
        return gettext('JOBS["%(name)s"] has no task "%(task)s" any more: no worker can run it.') % {
            "name": job.name,
            "task": first,
        }
    tasks = definition.tasks[definition.tasks.index(first) :]
    sentence = ngettext(
        "Runs %(tasks)s with %(workspace)s.",
        "Runs %(tasks)s, beginning with %(workspace)s.",
        len(tasks),
    )
    return sentence % {"tasks": ", ".join(map(get_short_name, tasks)), "workspace": workspace}


def get_short_name(task: str) -> str:
    """The function's name: what people call a task."""
    return task.rpartition(".")[2]
