"""What happened to a job, newest first: runs of its tasks and acts of operators in one list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dashboard.changes import Changes, Replay
from dbq.masking import mask_text
from dbq.models import Attempt, Operation, OperationItem
from dbq.verbs import VERBS, get_short_name


@dataclass
class Event:
    """One entry. `kind` is run, edit or act; `look` is what the map of looks knows."""

    kind: str
    moment: datetime | None
    look: Any
    title: str
    text: str = ""
    actor: str = ""
    reason: str = ""
    attempt: Attempt | None = None
    operation: Operation | None = None
    changes: Changes = field(default_factory=Changes)
    discarded: Changes = field(default_factory=Changes)
    # Of a round before the job was requeued.
    is_earlier: bool = False


def make_timeline(
    attempts: Iterable[Attempt],
    operations: Iterable[Operation],
    items: Iterable[OperationItem],
    replay: Replay,
    round_fence: int,
) -> list[Event]:
    events = [_tell_attempt(attempt, replay, round_fence) for attempt in attempts]
    events += [_tell_operation(operation) for operation in operations]
    events += [_tell_item(item) for item in items]
    # A stable sort: of two at the same moment the one that was written later comes first.
    events.reverse()
    events.sort(key=_get_time, reverse=True)
    return events


def _get_time(event: Event) -> float:
    return event.moment.timestamp() if event.moment else float("inf")


def _tell_attempt(attempt: Attempt, replay: Replay, round_fence: int) -> Event:
    is_edit = attempt.outcome == "EDITED"
    return Event(
        kind="edit" if is_edit else "run",
        moment=attempt.finished or attempt.started,
        look=attempt.outcome,
        title=get_short_name(attempt.task),
        text=mask_text(attempt.error_message),
        attempt=attempt,
        changes=replay.changes.get(attempt.pk) or Changes(),
        discarded=replay.discarded.get(attempt.pk) or Changes(),
        is_earlier=attempt.fence <= round_fence,
    )


def _tell_operation(operation: Operation) -> Event:
    return Event(
        kind="act",
        moment=operation.created,
        look=operation.state,
        title=_name_act(operation),
        text=mask_text(operation.message),
        actor=operation.actor_name,
        reason=mask_text(operation.reason),
        operation=operation,
    )


def _tell_item(item: OperationItem) -> Event:
    event = _tell_operation(item.operation)
    event.text = mask_text(item.reason)
    event.look = {"DONE": Operation.State.DONE}.get(item.outcome, Operation.State.REFUSED)
    event.moment = item.operation.progressed or item.operation.created
    return event


def _name_act(operation: Operation) -> str:
    verb = VERBS.get(operation.verb)
    if verb is None:
        return operation.verb
    return str(verb.label if operation.state == Operation.State.REFUSED else verb.past)
