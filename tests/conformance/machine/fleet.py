"""Three workers and an operator, who do whatever Hypothesis thinks of, each act beside the model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dbq import bulk, counts, transitions, workspaces
from dbq.exceptions import DuplicateJob, InvalidJob, JobNotFinished
from dbq.failures import make_failure
from dbq.models import Job, Operation, Queue, QueueCountDelta, Worker
from dbq.operations import Actor, act
from dbq.results import Result
from dbq.run import TaskRun
from dbq.states import FINISHED, Lane, Outcome, State
from dbq.verbs import VERBS
from tests.conformance.machine.invariants import (
    assert_rows_are_sound,
    assert_workspaces_can_be_rebuilt,
)
from tests.conformance.machine.model import JobModel, Model, Run, apply_end
from tests.helpers import (
    claim,
    dialect,
    empty_tables,
    let_lease_run_out,
    let_time_pass,
    make_worker,
    promote,
    read_everything,
    record,
)
from tests.jobs import JOBS

OLGA = Actor("1", "olga")
NAME = "scripted"
TASKS = tuple(JOBS[NAME])
QUEUES = ("default", "mail")
HOUR = timedelta(hours=1)
# A worker that holds more jobs than this may have had them only in advance.
THREADS = 1
JOBS_MAX = 7
READ = (*JobModel(UUID(int=0), TASKS, "", 0, {}).row, "initial_workspace", "round_fence")

# Which of those there are, counted around: small numbers to shrink to, and never one too many.
Place = st.integers(0, JOBS_MAX - 1)
WorkerPlace = st.integers(0, 2)
QueueName = st.sampled_from(["default", "default", "default", "mail"])
Priority = st.integers(0, 2)
Value = st.integers(0, 9)
# How an operator acts: on record, on record with a page that is out of date, or from code.
Door = st.sampled_from(["act", "act", "stale", "code"])
Ending = st.sampled_from(
    [
        *[(Outcome.COMPLETED, "goes on", 0)] * 6,
        (Outcome.COMPLETED, "yields", 0),
        (Outcome.COMPLETED, "cancels", 0),
        (Outcome.FAILED, "", 0),
        (Outcome.RETRIED, "", 1),
        (Outcome.RELEASED, "", 0),
        (Outcome.RELEASED, "unstarted", 0),
        (Outcome.RELEASED, "unstarted", 1),
        (Outcome.CANCELLED, "", 0),
        (Outcome.RUNNING, "", 0),
        (Outcome.RUNNING, "", 0),
    ]
)


@dataclass(eq=False)
class Hand:
    """A job in a worker's hands; it may not know that somebody else has it by now."""

    run: TaskRun
    model: JobModel
    before: dict

    @property
    def is_ours(self) -> bool:
        held = not self.model.is_deleted and self.model.state == State.PROCESSING
        return held and self.model.fence == self.run.fence


class Fleet(RuleBasedStateMachine):
    """One rule for each transition; after each rule the rows must be what the model is."""

    def __init__(self) -> None:
        super().__init__()
        empty_tables()
        self.model = Model(QUEUES)
        self.workers = [self.hire(place) for place in range(3)]
        self.hands: list[Hand] = []
        self.highest_fences: dict[UUID, int] = {}

    def hire(self, place: int) -> Worker:
        return make_worker(name=f"worker {place}:1", threads=THREADS)

    # Creation

    @initialize(amount=st.integers(2, 3))
    def begin(self, amount: int) -> None:
        for key in ("k", None, "l")[:amount]:
            self.create("default", 0, 0, key, 0)

    @precondition(lambda self: len(self.model.present()) < JOBS_MAX)
    @rule(
        queue_name=QueueName,
        priority=Priority,
        value=Value,
        key=st.sampled_from([None, None, "k", "l"]),
        hours=st.sampled_from([0, 0, 1]),
    )
    def create(self, queue_name: str, priority: int, value: int, key: str | None, hours: int) -> None:
        fields = {
            "name": NAME,
            "queue_name": queue_name,
            "priority": priority,
            "workspace": {"value": value},
            "unique_key": key,
            "run_after": dialect().read_clock() + hours * HOUR if hours else None,
        }
        holder = self.model.find_holder(key)
        if holder is not None:
            with pytest.raises(DuplicateJob) as refusal:
                Job.objects.create(**fields)
            assert refusal.value.job_id == holder.id
            return
        job = Job.objects.create(**fields)
        self.model.jobs.append(
            JobModel(job.pk, TASKS, queue_name, priority, {"value": value}, key, due_in=hours)
        )

    # Workers

    @precondition(lambda self: self.queues_with_work)
    @rule(place=WorkerPlace, queue=Place, limit=st.integers(1, 3))
    def claim(self, place: int, queue: int, limit: int) -> None:
        self.hand_out(place, pick(self.queues_with_work, queue), limit)

    @property
    def queues_with_work(self) -> list[str]:
        """Paused ones too: nothing may be claimed from them."""
        lanes = {(job.queue_name, job.lane) for job in self.model.present()}
        return [name for name in QUEUES if (name, Lane.CLAIMABLE) in lanes]

    def hand_out(self, place: int, queue_name: str, limit: int) -> list[Hand]:
        worker = self.workers[place]
        claimed = claim(limit, worker=worker, queue_name=queue_name)
        expected = self.model.claim(worker.pk, queue_name, limit)
        assert [job.pk for job in claimed] == [model.id for model in expected]
        taken = [self.take_up(job, model) for job, model in zip(claimed, expected, strict=True)]
        self.hands += taken
        # Asked to end while it ran, and given back before its worker heard: it must not begin.
        asked = [hand for hand in taken if hand.model.cancel_requested]
        self.write([(hand, Outcome.CANCELLED, "unstarted", 0, 0) for hand in asked])
        return taken

    def take_up(self, job: Job, model: JobModel) -> Hand:
        job.is_first_claim = model.is_first_claim
        assert job.workspace == model.workspace
        return Hand(TaskRun(job, job.definition, lambda result: False), model, model.workspace)

    @property
    def held(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.is_ours]

    @property
    def lost(self) -> list[Hand]:
        return [hand for hand in self.hands if not hand.is_ours]

    def take(self, place: int) -> Hand | None:
        """A job in somebody's hands; if there is none, a worker claims first."""
        if not self.held and self.queues_with_work:
            self.hand_out(place % 3, pick(self.queues_with_work, place), 2)
        return pick(self.held, place) if self.held else None

    @rule(place=Place, ending=Ending, value=Value)
    def end(self, place: int, ending: tuple[Outcome, str, int], value: int) -> None:
        """A run ends, one way or another, or reaches a checkpoint."""
        hand = self.take(place)
        if hand is not None:
            self.write([(hand, *ending, value)])

    @precondition(lambda self: self.held)
    @rule(ending=Ending, value=Value, late=st.booleans())
    def end_all(self, ending: tuple[Outcome, str, int], value: int, late: bool) -> None:
        """One batch, with a result in it that comes too late."""
        hands = {hand.model.id: hand for hand in (*(self.lost[-1:] if late else ()), *self.held)}
        self.write([(hand, *ending, value) for hand in hands.values()])

    @precondition(lambda self: self.lost)
    @rule(place=Place, ending=Ending, value=Value)
    def write_late(self, place: int, ending: tuple[Outcome, str, int], value: int) -> None:
        """Whoever lost a job changes nothing of it, and leaves no trace."""
        hand = pick(self.lost, place)
        before = read_everything()
        assert record(self.make_result(hand, *ending, value)) == []
        assert read_everything() == before

    def write(self, ends: list[tuple[Hand, Outcome, str, int, int]]) -> None:
        """Record a batch; what the model holds for overtaken must be left out."""
        results = [self.make_result(*end) for end in ends]
        expected = [result for result, end in zip(results, ends, strict=True) if end[0].is_ours]
        assert record(*results) == expected
        for result, (hand, _, how, hours, _) in zip(results, ends, strict=True):
            if result in expected:
                self.settle(hand, result, how, hours)

    def make_result(self, hand: Hand, outcome: Outcome, how: str, hours: int, value: int) -> Result:
        """How a run ended, as its thread and the engine would have said it."""
        run = hand.run
        result = run.make_result(outcome)
        result.started = result.finished = dialect().read_clock()
        result.worker_name = "somebody:1"
        result.delay = hours * HOUR.total_seconds()
        # What has left a mark has begun, and after a task's end its job has.
        result.unstarted = how == "unstarted" and not run.has_checkpoint
        if outcome == Outcome.COMPLETED:
            result.next_task = run.definition.task_after(run.task)
            result.cancels = how == "cancels" and result.next_task is not None
            result.yields = how == "yields"
        if outcome in (Outcome.FAILED, Outcome.RETRIED):
            result.failure = make_failure("ValueError", "told to fail")
        workspace = {**run.job.workspace, run.task.rpartition(".")[2]: value}
        if outcome in (Outcome.COMPLETED, Outcome.RUNNING):
            run.add_changes(result, workspaces.serialize(workspace))
        return result

    def settle(self, hand: Hand, result: Result, how: str, hours: int) -> None:
        """Do to the model, and to what the worker knows, what the accepted result did to the row."""
        model, run = hand.model, hand.run
        if not result.unstarted and not result.has_attempt:
            model.history.append(Run(result.task, hand.before))
        if result.workspace is not None:
            model.workspace = run.job.workspace = workspaces.parse(result.workspace)
        if result.outcome == Outcome.RUNNING:
            run.accept(result)
            return
        how = "" if how == "unstarted" and not result.unstarted else how
        apply_end(model, result.outcome, next_task=result.next_task, hours=hours, how=how)
        if hand.is_ours:
            self.go_on(hand, result)

    def go_on(self, hand: Hand, result: Result) -> None:
        """The next task under the same claim, as the engine takes it up."""
        job = hand.run.job
        job.next_task, job.attempt, job.crash_count = result.next_task, 1, 0
        job.is_first_claim = False
        if result.initial_workspace is not None:
            job.initial_workspace = workspaces.parse(result.initial_workspace)
        self.hands[self.hands.index(hand)] = self.take_up(job, hand.model)

    # Their deaths

    @rule(place=WorkerPlace, what=st.sampled_from(["expire", "expire", "renew", "sweep"]))
    def watch(self, place: int, what: str) -> None:
        """A lease runs out, and nobody sees it yet; or is renewed, perhaps in the last moment."""
        if what == "sweep":
            self.sweep()
        elif what == "expire":
            let_lease_run_out(self.workers[place])
        else:
            Worker.objects.filter(pk=self.workers[place].pk).update(expires_at=dialect().read_clock() + HOUR)

    @rule(place=Place, knowledge=st.sampled_from(["none", "one ran", "all ran"]), is_asked=st.booleans())
    def die(self, place: int, knowledge: str, is_asked: bool) -> None:
        """A worker dies: with its machine, so that nobody knows what ran, or under its supervisor's eyes."""
        victim = self.take(place)
        if victim is None:
            return
        if is_asked:
            assert Job.objects.filter(pk=victim.model.id).cancel() == int(victim.model.cancel())
        worker = next(worker for worker in self.workers if worker.pk == victim.model.worker)
        if knowledge == "none":
            let_lease_run_out(worker)
            self.sweep(by_operator=is_asked)
        else:
            running = {victim.model.id} if knowledge == "one ran" else self.find_held(worker)
            self.rescue(worker, running | self.find_marked())
            self.replace([worker])

    def find_held(self, worker: Worker) -> set[UUID]:
        return {job.id for job in self.model.find_held(worker.pk)}

    @precondition(lambda self: self.queues_with_work)
    @rule(place=WorkerPlace, queue=Place, times=st.integers(1, 3))
    def crash(self, place: int, queue: int, times: int) -> None:
        """One job kills its workers, until it may no more."""
        for _ in range(times):
            if not self.queues_with_work:
                return
            self.hand_out(place, pick(self.queues_with_work, queue), 1)
            self.rescue(self.workers[place], self.find_held(self.workers[place]))
            self.replace([self.workers[place]])

    def sweep(self, by_operator: bool = False) -> None:
        """Take the jobs of all whose lease ran out; those workers go on under new rows."""
        now = dialect().read_clock()
        dead = [worker for worker in self.workers if reload_worker(worker).expires_at < now]
        freed = sum(self.rescue_in_model(worker) for worker in dead)
        if by_operator:
            self.expect_record(act(OLGA, "rescue_workers"), freed > 0)
        else:
            declared = transitions.declare_dead(dialect())
            rescues = [transitions.rescue(dialect(), worker, "dbq.WorkerLost", "gone") for worker in declared]
            assert sum(rescues) == freed
        self.replace(dead)

    def rescue(self, worker: Worker, running: set[UUID]) -> None:
        expected = self.rescue_in_model(worker, running)
        assert transitions.rescue(dialect(), worker, "dbq.Crash", "gone", running) == expected

    def rescue_in_model(self, worker: Worker, running: set[UUID] | None = None) -> int:
        return self.model.rescue(worker.pk, THREADS, self.find_marked(), running)

    def find_marked(self) -> set[UUID]:
        """Jobs whose current run has left a mark in their history."""
        return {hand.model.id for hand in self.held if hand.run.has_checkpoint}

    def replace(self, dead: list[Worker]) -> None:
        for worker in dead:
            place = self.workers.index(worker)
            self.workers[place] = self.hire(place)

    # Operators, one job

    @rule(
        verb=st.sampled_from([verb for verb in VERBS if VERBS[verb].states and verb != "cleanup"]),
        place=Place,
        door=Door,
        task=st.sampled_from(TASKS),
        priority=st.none() | Priority,
        queue_name=st.none() | QueueName,
        hours=st.sampled_from([None, -1, 1]),
        value=Value,
    )
    def operate(self, verb: str, place: int, door: str, **details: Any) -> None:
        taken = {
            "resume_from": ("task",),
            "reschedule": ("priority", "queue_name", "hours"),
            "edit_workspace": ("value",),
        }
        options = {name: details[name] for name in taken.get(verb, ())}
        getattr(self, verb)(place, door, **options)

    def cancel(self, place: int, door: str) -> None:
        # Whatever the page said: the wish to end a job does not grow stale.
        self.act("cancel", place, "act" if door == "stale" else door, JobModel.cancel, Job.cancel)

    def retry(self, place: int, door: str) -> None:
        self.act("retry", place, door, JobModel.retry, Job.retry)

    def requeue(self, place: int, door: str) -> None:
        self.act("requeue", place, door, JobModel.requeue, Job.requeue)

    def resume_from(self, place: int, door: str, task: str) -> None:
        def resume(job: Job) -> bool:
            try:
                return job.resume_from(task)
            except InvalidJob:
                return False

        def resume_model(model: JobModel) -> bool:
            return model.may_resume_from(task) and model.resume_from(task)

        self.act("resume_from", place, door, resume_model, resume, task=task)

    def reschedule(
        self, place: int, door: str, priority: int | None, queue_name: str | None, hours: int | None
    ) -> None:
        moment = None if hours is None else dialect().read_clock() + hours * HOUR
        options = {"priority": priority, "queue_name": queue_name, "run_after": moment}
        # Nothing to change is refused on record; code may ask for it.
        if door != "code" and not any(value is not None for value in options.values()):
            options["priority"] = priority = 0

        def reschedule_model(model: JobModel) -> bool:
            return model.reschedule(priority=priority, queue_name=queue_name, hours=hours)

        def reschedule(job: Job) -> bool:
            return job.reschedule(**options)

        self.act("reschedule", place, door, reschedule_model, reschedule, **options)

    def edit_workspace(self, place: int, door: str, value: int) -> None:
        workspace = {**self.choose("edit_workspace", place).workspace, "edit": value}
        self.act(
            "edit_workspace",
            place,
            door,
            lambda model: model.edit_workspace(value),
            lambda job: job.edit_workspace(workspace),
            workspace=workspace,
        )

    def delete(self, place: int, door: str) -> None:
        def delete(job: Job) -> bool:
            try:
                return bool(job.delete()[0])
            except JobNotFinished:
                return False

        self.act("delete", place, door, JobModel.delete, delete)

    def act(
        self,
        verb: str,
        place: int,
        door: str,
        move_model: Callable[[JobModel], bool],
        move: Callable[[Job], bool],
        **options: Any,
    ) -> None:
        """One verb on one job, which may be gone: it moves what the model moves, and nothing else."""
        model = self.choose(verb, place)
        job = Job.objects.filter(pk=model.id).first() or Job(pk=model.id, name=NAME)
        expected = not model.is_deleted and door != "stale" and move_model(model)
        if door == "code":
            assert move(job) is expected
            return
        version = job.version - (door == "stale")
        self.expect_record(act(OLGA, verb, job, version=version, **options), expected, model.id)

    def choose(self, verb: str, place: int) -> JobModel:
        """One that the verb can move, if there is any; now and then whichever, even one that is gone."""
        suitable = self.model.present(*VERBS[verb].states)
        return pick(suitable if suitable and place != JOBS_MAX - 1 else self.model.jobs, place)

    def expect_record(self, operation: Operation, is_done: bool, job_id: UUID | None = None) -> None:
        state = "DONE" if is_done else "REFUSED"
        assert operation.state == state, operation.message
        assert operation.message
        self.model.records.append((operation.verb, state, job_id))

    # Operators, all that match

    @rule(
        verb=st.sampled_from(["cancel", "retry", "requeue", "delete"]),
        states=st.lists(st.sampled_from(State), min_size=1, max_size=3, unique=True),
        queue_name=QueueName,
    )
    def act_on_all(self, verb: str, states: list[State], queue_name: str) -> None:
        matching = [job for job in self.model.present(*states) if job.queue_name == queue_name]
        names = [["state", "in", [str(state) for state in states]], ["queue_name", "exact", queue_name]]
        operation = bulk.start(OLGA, bulk.propose(verb, names))
        # On a slow machine the time that a request has for it may run out.
        bulk.run_to_end(operation)
        operation.refresh_from_db()
        moved = [getattr(job, verb)() for job in matching].count(True)
        found = (operation.matched, operation.done, operation.skipped, operation.failed)
        assert found == (len(matching), moved, len(matching) - moved, 0)
        self.model.records.append((verb, "DONE", None))

    @rule(queue_name=QueueName, hours=st.sampled_from([None, 1]), is_resumed=st.booleans(), door=Door)
    def pause_or_resume(self, queue_name: str, hours: int | None, is_resumed: bool, door: str) -> None:
        queue = self.model.queues[queue_name]
        # Else most of a course would find most queues paused.
        if is_resumed or queue.is_paused:
            self.resume(queue_name, queue.resume(), door)
        else:
            self.pause(queue_name, hours, queue.pause(hours), door)
        self.check_pauses()

    def pause(self, queue_name: str, hours: int | None, expected: bool, door: str) -> None:
        until = None if hours is None else dialect().read_clock() + hours * HOUR
        if door == "code":
            assert transitions.pause_queue(queue_name, until=until) is expected
        else:
            self.expect_record(act(OLGA, "pause_queue", queue_name, until=until), expected)

    def resume(self, queue_name: str, expected: bool, door: str) -> None:
        if door == "code":
            assert transitions.resume_queue(queue_name) is expected
        else:
            self.expect_record(act(OLGA, "resume_queue", queue_name), expected)

    def check_pauses(self) -> None:
        paused = {name for name, queue in self.model.queues.items() if queue.is_paused}
        assert set(Queue.objects.paused().values_list("name", flat=True)) == paused

    # Time, and what the engine does in it

    @rule(what=st.sampled_from(["pass", "pass", "promote", "delete old"]), hours=st.sampled_from([1, 3]))
    def let_time_pass(self, what: str, hours: int) -> None:
        if what == "delete old":
            assert Job.objects.delete_old(hours=hours) == self.model.delete_old(hours)
        elif what == "promote":
            assert promote() == self.model.promote()
        else:
            let_time_pass(2 * HOUR.total_seconds())
            self.model.let_time_pass()
            self.check_pauses()

    @rule(is_recount=st.booleans())
    def keep_the_books(self, is_recount: bool) -> None:
        if is_recount:
            assert counts.recount() == {}, "The totals were off."
        else:
            counts.fold_all()
            assert not QueueCountDelta.objects.exists()

    # What must be true, always

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        rows = list(Job.objects.order_by("pk").values(*READ))
        expected = self.model.rows
        known = [{name: row[name] for name in model} for row, model in zip(rows, expected, strict=False)]
        assert (len(rows), known) == (len(expected), expected)
        assert_rows_are_sound()
        assert_workspaces_can_be_rebuilt(rows)
        for row in rows:
            assert row["fence"] >= self.highest_fences.get(row["id"], 0), "A fence fell."
            self.highest_fences[row["id"]] = row["fence"]

    def teardown(self) -> None:
        """Whatever happened: the books are right, and what is left can all be brought to an end."""
        assert counts.get_finished_totals() == self.model.count_finished()
        assert counts.recount() == {}
        records = Operation.objects.order_by("pk").values_list("verb", "state", "job_id")
        assert list(records) == self.model.records, "Each act leaves one record."
        assert Job.objects.exclude(state__in=FINISHED).cancel() == sum(
            job.cancel() for job in self.model.present()
        )


def pick(among: list[Any], place: int) -> Any:
    return among[place % len(among)]


def reload_worker(worker: Worker) -> Worker:
    return Worker.objects.get(pk=worker.pk)
