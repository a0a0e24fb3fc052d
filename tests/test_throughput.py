"""The comparison of speed believes only what the lines of the jobs show."""

import pytest

# Puts the scripts on the path, which the others import.
import benchmarks.engine  # noqa: F401
from benchmarks import lines
from benchmarks.peers.speed.catalogue import CONTENDERS
from benchmarks.throughput.bars import Row, draw
from benchmarks.throughput.document import ABSENT, FAILED, Column, Results
from benchmarks.throughput.latencies import find_rank
from benchmarks.throughput.trials import FEWEST_JOBS, size

pytestmark = pytest.mark.once


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv(lines.FOLDER, str(tmp_path))
    monkeypatch.setattr(lines, "_files", {})
    return lines.Lines(tmp_path)


def test_each_job_is_read_with_the_moment_of_its_start(written):
    lines.perform("note", "00000001")
    lines.perform("note", "00000002")
    assert set(written.read()) == {"00000001", "00000002"}
    assert written.count() == 2


def test_a_job_that_ran_again_is_an_error(written):
    lines.perform("note", "00000001")
    lines.perform("note", "00000001")
    with pytest.raises(lines.NotExactlyOnce, match="1 of 1 jobs ran again"):
        written.read()


def test_a_job_of_three_tasks_leaves_three_lines(written):
    kind = "first"
    while kind:
        kind = lines.perform(kind, "00000001")
    assert len(written.read()) == lines.TASKS_OF_THREE


def test_a_drain_takes_as_long_as_its_trial_promises():
    assert size(1234.5, 4) == 4900
    assert size(0.5, 4) == FEWEST_JOBS


def test_a_percentile_is_one_of_the_values():
    assert find_rank([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert find_rank([1.0, 2.0, 3.0, 4.0], 99) == 4.0


def test_every_contender_has_every_pace():
    for contender in CONTENDERS.values():
        assert set(contender.paces) == {"default", "tuned", "two", "single"}


def make_record(measure, figures, error=None):
    return {
        "contender": "dbq",
        "database": "postgresql",
        "measure": measure,
        "figures": figures,
        "error": error,
        "missing": None,
    }


def test_a_cell_shows_the_median_its_spread_and_what_it_stands_beside():
    plain = [make_record("drain_tuned", {"rate": rate}) for rate in (900.0, 1000.0, 1200.0)]
    results = Results([*plain, make_record("with_finished", {"rate": 500.0})])
    assert Column("", "drain_tuned").write(results, "dbq", "postgresql") == "1,000 (900–1,200)"
    beside = Column("", "with_finished", beside="drain_tuned")
    assert beside.write(results, "dbq", "postgresql") == "500 (×0.50)"


def test_a_measurement_that_failed_is_not_passed_over():
    results = Results([make_record("idle", {}, error="the worker left")])
    assert Column("", "idle").write(results, "dbq", "postgresql") == FAILED
    assert Column("", "half_load").write(results, "dbq", "postgresql") == ABSENT
    assert list(results.get_failures()) == ["dbq, idle, postgresql: failed: the worker left"]


def test_the_greatest_bar_is_the_longest_and_the_least_can_be_seen():
    drawn = draw("Jobs", [Row("quick", 1000, 500), Row("slow", 0.5, 0.1)])
    assert 'width="548"' in drawn
    assert drawn.count('width="2"') == 2
