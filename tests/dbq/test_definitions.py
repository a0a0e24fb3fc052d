"""settings.JOBS: its two forms, its rules, and that nothing but the paths it names is ever imported."""

import pytest

from dbq.definitions import (
    JobDefinition,
    find_import_problems,
    find_problems,
    get_definition,
    get_definitions,
    is_priority,
    is_queue_name,
    load,
)
from dbq.exceptions import ConfigurationError, TaskNotImportable, UnknownJobName
from tests import jobs

pytestmark = pytest.mark.once

TASK = "tests.jobs.succeed"
OTHER = "tests.jobs.edit"


def test_the_short_form_is_a_list_of_tasks(settings):
    settings.JOBS = {"resize": [TASK, OTHER]}

    assert get_definitions() == {"resize": JobDefinition(name="resize", tasks=(TASK, OTHER))}


def test_the_short_form_takes_the_default_policy(settings):
    settings.JOBS = {"resize": [TASK]}

    definition = get_definition("resize")
    assert (definition.max_attempts, definition.queue_name, definition.priority) == (1, "default", 0)
    assert (definition.timeout, definition.hard_timeout, definition.backoff) == (None, None, 5)


def test_the_long_form_sets_hooks_and_policy(settings):
    options = {
        "creation_hook": TASK,
        "pre_task_hook": TASK,
        "post_task_hook": OTHER,
        "failure_hook": "tests.jobs.note_failure",
        "max_attempts": 3,
        "backoff": 0.5,
        "timeout": 10,
        "hard_timeout": 20.5,
        "queue_name": "images",
        "priority": -7,
    }
    settings.JOBS = {"resize": {"tasks": [TASK], **options}}

    assert get_definition("resize") == JobDefinition(name="resize", tasks=(TASK,), **options)


def test_tasks_follow_each_other_in_their_order():
    definition = JobDefinition(name="x", tasks=("a.b", "c.d", "e.f"))

    assert definition.first_task == "a.b"
    assert [definition.task_after(task) for task in definition.tasks] == ["c.d", "e.f", None]


def test_the_hash_tells_lists_of_tasks_apart():
    hashes = {
        JobDefinition(name="x", tasks=tasks).hash
        for tasks in [("a.b",), ("a.b", "c.d"), ("c.d", "a.b"), ("a.b\nc.d",)]
    }
    same = JobDefinition(name="y", tasks=("a.b",), max_attempts=9).hash

    assert len(hashes) >= 3
    assert same in hashes
    assert all(len(each) == 16 for each in hashes)


def test_a_changed_setting_is_read_again(settings):
    settings.JOBS = {"one": [TASK]}
    assert list(get_definitions()) == ["one"]

    settings.JOBS = {"two": [TASK]}

    assert list(get_definitions()) == ["two"]


@pytest.mark.parametrize("name", ["nowhere", "", None, 7, [], "resize "])
def test_an_unknown_name_is_named(name, settings):
    settings.JOBS = {"resize": [TASK]}

    with pytest.raises(UnknownJobName) as raised:
        get_definition(name)

    assert str(raised.value) == f'"{name}" is not a job name in settings.JOBS.'
    assert raised.value.name is name


NAME_RULE = 'a job name must be 1 to 100 letters, digits, "_", ".", ":" or "-".'
QUEUE_RULE = 'a queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-"'


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "settings.JOBS must be a dict, not list."),
        ({"": [TASK]}, f"JOBS['']: {NAME_RULE}"),
        ({"a b": [TASK]}, f"JOBS['a b']: {NAME_RULE}"),
        ({"a\n": [TASK]}, f"JOBS['a\\n']: {NAME_RULE}"),
        ({7: [TASK]}, f"JOBS[7]: {NAME_RULE}"),
        ({"x" * 101: [TASK]}, f"JOBS['{'x' * 101}']: {NAME_RULE}"),
        ({"x": TASK}, 'JOBS["x"] must be a list of dotted paths or a dict, not str.'),
        ({"x": None}, 'JOBS["x"] must be a list of dotted paths or a dict, not NoneType.'),
        ({"x": []}, 'JOBS["x"] has no tasks.'),
        ({"x": {}}, 'JOBS["x"]["tasks"] has no tasks.'),
        ({"x": {"tasks": []}}, 'JOBS["x"]["tasks"] has no tasks.'),
        (
            {"x": {"tasks": "a.b"}},
            'JOBS["x"]["tasks"] must be a list of dotted paths or a dict, not str.',
        ),
        ({"x": ["succeed"]}, "JOBS[\"x\"]: a task must be a dotted path to a function, not 'succeed'."),
        ({"x": ["a..b"]}, "JOBS[\"x\"]: a task must be a dotted path to a function, not 'a..b'."),
        ({"x": ["a.b c"]}, "JOBS[\"x\"]: a task must be a dotted path to a function, not 'a.b c'."),
        ({"x": [None]}, 'JOBS["x"]: a task must be a dotted path to a function, not None.'),
        (
            {"x": ["a." + "b" * 199]},
            f"JOBS[\"x\"]: a task must be a dotted path to a function, not 'a.{'b' * 199}'.",
        ),
        ({"x": [TASK, OTHER, TASK]}, 'JOBS["x"] names a task twice.'),
        (
            {"x": {"tasks": [TASK], "max_attempt": 2}},
            'JOBS["x"] has the unknown key "max_attempt". Did you mean "max_attempts"?',
        ),
        ({"x": {"tasks": [TASK], "zzz": 2}}, 'JOBS["x"] has the unknown key "zzz".'),
        (
            {"x": {"tasks": [TASK], "failure_hook": "nope"}},
            'JOBS["x"]["failure_hook"] must be a dotted path to a function, not \'nope\'.',
        ),
        (
            {"x": {"tasks": [TASK], "timeout": 0}},
            'JOBS["x"]["timeout"] must be a number of seconds above 0, not 0.',
        ),
        (
            {"x": {"tasks": [TASK], "hard_timeout": "9"}},
            'JOBS["x"]["hard_timeout"] must be a number of seconds above 0, not \'9\'.',
        ),
        (
            {"x": {"tasks": [TASK], "backoff": True}},
            'JOBS["x"]["backoff"] must be a number of seconds above 0, not True.',
        ),
        (
            {"x": {"tasks": [TASK], "max_attempts": 0}},
            'JOBS["x"]["max_attempts"] must be a whole number from 1 to 10000, not 0.',
        ),
        (
            {"x": {"tasks": [TASK], "max_attempts": 10_001}},
            'JOBS["x"]["max_attempts"] must be a whole number from 1 to 10000, not 10001.',
        ),
        (
            {"x": {"tasks": [TASK], "max_attempts": 2.0}},
            'JOBS["x"]["max_attempts"] must be a whole number from 1 to 10000, not 2.0.',
        ),
        (
            {"x": {"tasks": [TASK], "max_attempts": None}},
            'JOBS["x"]["max_attempts"] must be a whole number from 1 to 10000, not None.',
        ),
        (
            {"x": {"tasks": [TASK], "priority": 40_000}},
            'JOBS["x"]["priority"] must be a whole number from -32767 to 32767, not 40000.',
        ),
        (
            {"x": {"tasks": [TASK], "queue_name": "a b"}},
            f'JOBS["x"]["queue_name"]: {QUEUE_RULE}, not \'a b\'.',
        ),
    ],
)
def test_a_broken_rule_is_told_in_one_sentence(given, problem, settings):
    assert list(find_problems(given)) == [problem]
    settings.JOBS = given
    with pytest.raises(ConfigurationError) as raised:
        get_definitions()
    assert str(raised.value) == problem


def test_all_problems_are_found_at_once():
    problems = list(find_problems({"a": [], "b b": ["x"], "c": {"tasks": [TASK], "priority": "1"}}))

    assert len(problems) == 4


@pytest.mark.parametrize("name", ["a", "a.b", "a:b", "a-b", "ä1_", "x" * 100])
def test_names_that_keep_the_rule(name):
    assert list(find_problems({name: [TASK]})) == []


@pytest.mark.parametrize("key", ["creation_hook", "timeout", "hard_timeout", "backoff"])
def test_none_is_as_good_as_absent_where_a_default_exists(key):
    assert list(find_problems({"x": {"tasks": [TASK], key: None}})) == []


@pytest.mark.parametrize(
    ("value", "is_one"),
    [(0, True), (-32767, True), (32767, True), (32768, False), (True, False), (1.0, False), ("1", False)],
)
def test_what_a_priority_is(value, is_one):
    assert is_priority(value) is is_one


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("a", True),
        ("x" * 50, True),
        ("x" * 51, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        (None, False),
    ],
)
def test_what_a_queue_name_is(value, is_one):
    assert is_queue_name(value) is is_one


# Importing


def test_a_named_path_is_imported(settings):
    settings.JOBS = {"x": {"tasks": [TASK], "failure_hook": "tests.jobs.note_failure"}}

    assert load(TASK) is jobs.succeed
    assert load("tests.jobs.note_failure") is jobs.note_failure


@pytest.mark.parametrize("path", ["os.system", "subprocess.getoutput", "tests.jobs.edit", "", "os"])
def test_a_path_that_is_not_named_is_never_imported(path, settings):
    settings.JOBS = {"x": [TASK]}

    with pytest.raises(TaskNotImportable) as raised:
        load(path)

    assert str(raised.value) == f'"{path}" is not named in settings.JOBS and is never imported.'


def test_a_module_of_an_unnamed_path_is_not_even_looked_for(settings):
    import sys

    settings.JOBS = {"x": [TASK]}
    sys.modules.pop("this", None)

    with pytest.raises(TaskNotImportable):
        load("this.s")

    assert "this" not in sys.modules


def test_a_module_that_exits_on_import_does_not_end_the_process(settings, tmp_path, monkeypatch):
    (tmp_path / "exits_on_import.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    settings.JOBS = {"x": ["exits_on_import.task"]}

    with pytest.raises(TaskNotImportable) as raised:
        load("exits_on_import.task")

    assert str(raised.value) == '"exits_on_import.task" does not import: SystemExit: 3'


def test_a_module_with_a_syntax_error_is_told(settings, tmp_path, monkeypatch):
    (tmp_path / "is_no_python.py").write_text("def task(job:\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings.JOBS = {"x": ["is_no_python.task"]}

    with pytest.raises(TaskNotImportable, match=r'"is_no_python\.task" does not import: SyntaxError'):
        load("is_no_python.task")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            ["tests.jobs.nowhere"],
            'JOBS["x"]: "tests.jobs.nowhere" does not import: ImportError: Module "tests.jobs" does'
            ' not define a "nowhere" attribute/class',
        ),
        (["tests.jobs.ran"], 'JOBS["x"]: "tests.jobs.ran" is not a function.'),
        (
            ["tests.jobs.run_bad_sql"],
            'JOBS["x"]: "tests.jobs.run_bad_sql" must take one argument: the job.',
        ),
        (
            ["tests.jobs.note_failure"],
            'JOBS["x"]: "tests.jobs.note_failure" must take one argument: the job.',
        ),
        (
            {"tasks": [TASK], "failure_hook": "tests.jobs.note_pre"},
            'JOBS["x"]["failure_hook"]: "tests.jobs.note_pre" must take 2 arguments: the job and the'
            " exception.",
        ),
        (
            {"tasks": [TASK], "creation_hook": "tests.jobs.note_failure"},
            'JOBS["x"]["creation_hook"]: "tests.jobs.note_failure" must take one argument: the job.',
        ),
    ],
)
def test_paths_that_cannot_be_called_are_found_before_a_job_runs(given, problem, settings):
    settings.JOBS = {"x": given}

    assert list(find_import_problems()) == [problem]


def test_the_sample_jobs_have_no_problems():
    assert list(find_import_problems()) == []
