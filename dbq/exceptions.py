"""The errors dbq raises itself.

DbqError
├── ConfigurationError       settings.JOBS or settings.DBQ break a rule
│   └── UnknownJobName       no entry of that name in settings.JOBS
├── InvalidJob               a job that may not be created or edited like this
│   ├── InvalidWorkspace     not an object, not JSON, too large or too deep
│   └── DuplicateJob         another unfinished job holds the unique key
├── JobNotFinished           deleting a job that is waiting or running
├── ActRefused               an operator's act that came too late, or against a rule
├── InvalidCriteria          a filter that asks for what is not offered
├── TaskError                the reason dbq itself fails a task
│   ├── TaskNotImportable    the path in settings.JOBS does not import
│   ├── TaskTimeout          the task ran longer than its job allows
│   └── TransactionLeftOpen  the task returned inside an open transaction
├── LeaseLost                the job belongs to somebody else by now
└── JobCancelled             an operator asked for an end, the task agreed
"""


class DbqError(Exception):
    """Base of dbq's errors; catch it, do not raise it."""


class ConfigurationError(DbqError):
    """settings.JOBS or settings.DBQ break a rule."""


class UnknownJobName(ConfigurationError):
    """No entry of that name in settings.JOBS."""

    def __init__(self, name: object) -> None:
        super().__init__(f'"{name}" is not a job name in settings.JOBS.')
        self.name = name


class InvalidJob(DbqError):
    """A job that may not be created or edited like this."""


class InvalidWorkspace(InvalidJob):
    """A workspace that is not an object, not JSON, too large or too deep."""


class DuplicateJob(InvalidJob):
    """Another unfinished job holds the unique key; `job_id` names it when it is known."""

    def __init__(self, unique_key: str, job_id: object) -> None:
        holder = f" (job {job_id})" if job_id else ""
        super().__init__(f'An unfinished job holds the unique key "{unique_key}"{holder}.')
        self.unique_key = unique_key
        self.job_id = job_id


class JobNotFinished(DbqError):
    """Only finished jobs are deleted; a waiting or running one is cancelled first."""


class ActRefused(DbqError):
    """An operator's act that came too late, or against a rule; the message says which."""


class InvalidCriteria(DbqError):
    """Criteria that name a field, a lookup or a value that is not offered."""


class TaskError(DbqError):
    """The reason dbq itself fails a task."""


class TaskNotImportable(TaskError):
    """The path that settings.JOBS names does not import."""


class TaskTimeout(TaskError):
    """The task ran longer than its job definition allows."""


class TransactionLeftOpen(TaskError):
    """The task returned while a transaction it had opened was still open."""


class LeaseLost(DbqError):
    """The job was rescued or taken back; nothing this worker writes about it counts any more."""


class JobCancelled(DbqError):
    """Raised by a checkpoint after an operator asked for the job's end; may be raised by tasks too."""
