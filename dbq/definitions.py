"""settings.JOBS as objects: which tasks a job runs, in which order and under which policy."""

import difflib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from dbq.exceptions import ConfigurationError, TaskNotImportable, UnknownJobName

NAME_MAX_LENGTH = 100
QUEUE_NAME_MAX_LENGTH = 50
TASK_MAX_LENGTH = 200
PRIORITY_LIMIT = 32_767
# An attempt's number fits a small integer, with room for those that crashes take.
MAX_ATTEMPTS_LIMIT = 10_000
NAME = re.compile(r"[\w.:-]+")

HOOKS = ("creation_hook", "pre_task_hook", "post_task_hook", "failure_hook")
KEYS = ("tasks", *HOOKS, "max_attempts", "backoff", "timeout", "hard_timeout", "queue_name", "priority")


@dataclass(frozen=True)
class JobDefinition:
    """One entry of settings.JOBS; the times are in seconds."""

    name: str
    tasks: tuple[str, ...]
    creation_hook: str | None = None
    pre_task_hook: str | None = None
    post_task_hook: str | None = None
    failure_hook: str | None = None
    # Runs that one task of a job gets before the job is FAILED.
    max_attempts: int = 1
    # The wait after the first failure; it doubles with each further one.
    backoff: float = 5
    # Longest run of one task before an exception is raised in it; None for no limit.
    timeout: float | None = None
    # Longest run of one task before its process is killed.
    hard_timeout: float | None = None
    queue_name: str = "default"
    priority: int = 0

    @property
    def first_task(self) -> str:
        return self.tasks[0]

    def task_after(self, task: str) -> str | None:
        """The task that follows, or None after the last."""
        position = self.tasks.index(task) + 1
        return self.tasks[position] if position < len(self.tasks) else None

    @property
    def hash(self) -> str:
        """Changes whenever the list of tasks does."""
        return _hash(self.tasks)


@cache
def _hash(tasks: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(tasks).encode()).hexdigest()[:16]


@cache
def get_definitions() -> dict[str, JobDefinition]:
    """All of settings.JOBS by name; raise ConfigurationError with the first rule it breaks."""
    jobs = getattr(settings, "JOBS", {})
    for problem in find_problems(jobs):
        raise ConfigurationError(problem)
    return {name: _define(name, entry) for name, entry in jobs.items()}


def get_definition(name: str) -> JobDefinition:
    """The definition of that name; raise UnknownJobName if settings.JOBS has none."""
    try:
        return get_definitions()[name]
    except (KeyError, TypeError):
        raise UnknownJobName(name) from None


def load(path: str) -> Callable:
    """Import the task or hook at that path, which must be one that settings.JOBS names.

    Raises TaskNotImportable, with the reason, for every other path and for one that does not import.
    """
    if path not in _named_paths():
        raise TaskNotImportable(f'"{path}" is not named in settings.JOBS and is never imported.')
    return _import(path)


@cache
def _named_paths() -> frozenset[str]:
    paths: set[str] = set()
    for definition in get_definitions().values():
        paths.update(definition.tasks)
        paths.update(filter(None, (getattr(definition, hook) for hook in HOOKS)))
    return frozenset(paths)


@cache
def _import(path: str) -> Callable:
    try:
        function = import_string(path)
    except BaseException as error:  # an import may run any code, sys.exit included
        if isinstance(error, KeyboardInterrupt):
            raise
        raise TaskNotImportable(f'"{path}" does not import: {type(error).__name__}: {error}') from error
    if not callable(function):
        raise TaskNotImportable(f'"{path}" is not a function.')
    return function


def _define(name: str, entry: Any) -> JobDefinition:
    options = dict(entry) if isinstance(entry, dict) else {"tasks": entry}
    return JobDefinition(name=name, **{**options, "tasks": tuple(options["tasks"])})


def find_problems(jobs: Any) -> Iterator[str]:
    """Say, a sentence each, which rules a JOBS setting breaks; nothing is imported."""
    if not isinstance(jobs, dict):
        yield f"settings.JOBS must be a dict, not {type(jobs).__name__}."
        return
    for name, entry in jobs.items():
        yield from _find_name_problems(name)
        if isinstance(entry, dict):
            yield from _find_option_problems(f'JOBS["{name}"]', entry)
        else:
            yield from _find_task_problems(f'JOBS["{name}"]', entry)


def find_import_problems() -> Iterator[str]:
    """Say which paths of settings.JOBS do not import or do not take the arguments they will get."""
    for name, definition in get_definitions().items():
        for task in definition.tasks:
            yield from _find_call_problems(f'JOBS["{name}"]', task, "the job")
        for hook in HOOKS:
            path = getattr(definition, hook)
            arguments = ("the job", "the exception") if hook == "failure_hook" else ("the job",)
            if path:
                yield from _find_call_problems(f'JOBS["{name}"]["{hook}"]', path, *arguments)


def _find_call_problems(where: str, path: str, *arguments: str) -> Iterator[str]:
    try:
        inspect.signature(load(path)).bind(*arguments)
    except TaskNotImportable as error:
        yield f"{where}: {error}"
    except TypeError:
        takes = "one argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
        yield f'{where}: "{path}" must take {takes}: {" and ".join(arguments)}.'
    except ValueError:
        return  # a built-in without a signature


def _find_name_problems(name: Any) -> Iterator[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > NAME_MAX_LENGTH:
        yield (
            f"JOBS[{name!r}]: a job name must be 1 to {NAME_MAX_LENGTH} letters, digits, "
            '"_", ".", ":" or "-".'
        )


def _find_task_problems(where: str, tasks: Any) -> Iterator[str]:
    if not isinstance(tasks, list | tuple):
        yield f"{where} must be a list of dotted paths or a dict, not {type(tasks).__name__}."
        return
    if not tasks:
        yield f"{where} has no tasks."
    for task in tasks:
        if not _is_path(task):
            yield f"{where}: a task must be a dotted path to a function, not {task!r}."
    if len(set(map(str, tasks))) < len(tasks):
        # A job remembers its next task by name; the same name twice would be two places.
        yield f"{where} names a task twice."


def _find_option_problems(where: str, entry: dict) -> Iterator[str]:
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            yield f'{where} has the unknown key "{key}".{hint}'
    yield from _find_task_problems(f'{where}["tasks"]', entry.get("tasks", ()))
    for hook in HOOKS:
        if entry.get(hook) is not None and not _is_path(entry[hook]):
            yield f'{where}["{hook}"] must be a dotted path to a function, not {entry[hook]!r}.'
    for key in ("backoff", "timeout", "hard_timeout"):
        if entry.get(key) is not None and not _is_number(entry[key], above=0):
            yield f'{where}["{key}"] must be a number of seconds above 0, not {entry[key]!r}.'
    attempts = entry.get("max_attempts", 1)
    if not _is_whole(attempts) or not 1 <= attempts <= MAX_ATTEMPTS_LIMIT:
        yield (
            f'{where}["max_attempts"] must be a whole number from 1 to {MAX_ATTEMPTS_LIMIT},'
            f" not {attempts!r}."
        )
    if not is_priority(entry.get("priority", 0)):
        yield (
            f'{where}["priority"] must be a whole number from -{PRIORITY_LIMIT} to {PRIORITY_LIMIT},'
            f" not {entry['priority']!r}."
        )
    if not is_queue_name(entry.get("queue_name", "default")):
        yield f'{where}["queue_name"]: {QUEUE_NAME_RULE}, not {entry["queue_name"]!r}.'


QUEUE_NAME_RULE = f'a queue name must be 1 to {QUEUE_NAME_MAX_LENGTH} letters, digits, "_", ".", ":" or "-"'


def is_queue_name(value: object) -> bool:
    """Whether it may be the name of a queue."""
    return isinstance(value, str) and len(value) <= QUEUE_NAME_MAX_LENGTH and bool(NAME.fullmatch(value))


def is_priority(value: object) -> bool:
    """Whether it may be the priority of a job."""
    return _is_whole(value) and abs(value) <= PRIORITY_LIMIT  # type: ignore[arg-type]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object, above: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > above


def _is_path(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= TASK_MAX_LENGTH
        and "." in value
        and all(part.isidentifier() for part in value.split("."))
    )


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS":
        get_definitions.cache_clear()
        _named_paths.cache_clear()


setting_changed.connect(_forget)
