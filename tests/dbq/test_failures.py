"""An exception as the words that are kept of it, however it behaves."""

import pytest

from dbq.failures import MESSAGE_MAX_CHARACTERS, TYPE_MAX_CHARACTERS, describe, make_failure
from tests import jobs

pytestmark = pytest.mark.once


def catch(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("It did not raise.")


def raise_it(error):
    raise error


def say(message):
    return describe(catch(raise_it, ValueError(message)))


def test_type_message_and_traceback_are_kept():
    failure = say("no such file")

    assert (failure.error_type, failure.message) == ("ValueError", "no such file")
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert failure.traceback.endswith("ValueError: no such file\n")
    assert "in raise_it" in failure.traceback


def test_a_type_has_its_module_unless_it_is_built_in():
    assert describe(jobs.Unspeakable()).error_type == "tests.jobs.Unspeakable"
    assert describe(KeyError("k")).error_type == "KeyError"


def test_an_exception_that_cannot_say_anything_is_kept_all_the_same():
    failure = describe(catch(jobs.raise_the_unspeakable, None))

    assert failure.message == "(its text raised RuntimeError)"
    assert "in raise_the_unspeakable" in failure.traceback


class Exits(Exception):
    def __str__(self):
        raise SystemExit("from __str__")


def test_an_exception_whose_text_exits_ends_nothing():
    failure = describe(catch(raise_it, Exits()))

    assert failure.message == "(its text raised SystemExit)"


class NoString(Exception):
    def __str__(self):
        return 7


def test_an_exception_whose_text_is_none_is_kept():
    assert describe(catch(raise_it, NoString())).message == "(its text raised TypeError)"


@pytest.mark.parametrize("length", [MESSAGE_MAX_CHARACTERS, MESSAGE_MAX_CHARACTERS + 1, 3_000_000])
def test_a_message_is_kept_from_its_beginning(length):
    message = say("x" * length).message

    assert len(message) == MESSAGE_MAX_CHARACTERS
    assert message.startswith("xxx")
    assert message.endswith("…") is (length > MESSAGE_MAX_CHARACTERS)


def test_a_traceback_is_kept_from_its_end(settings):
    settings.DBQ = {"TRACEBACK_MAX_CHARACTERS": 200}

    failure = describe(catch(jobs.recurse_for_ever, None))

    head, _, rest = failure.traceback.partition("\n")
    assert head.startswith("… (") and head.endswith(" characters left out)")
    assert len(rest) == 200
    assert rest.splitlines()[-1].startswith("RecursionError")


def test_a_huge_message_does_not_make_a_huge_traceback():
    assert len(say("x" * 3_000_000).traceback) < 17_000


def test_a_long_type_name_is_cut():
    error_class = type("E" * 500, (Exception,), {})

    assert len(describe(error_class()).error_type) == TYPE_MAX_CHARACTERS


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("a\0b", "a\\0b"),
        ("\ud800", "\\ud800"),
        ("\N{PARTY POPPER} ünï", "\N{PARTY POPPER} ünï"),
        ("", ""),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_a_database_cannot_store_is_written_out(message, kept):
    failure = say(message)

    assert failure.message == kept
    assert "\0" not in failure.traceback
    failure.traceback.encode()


def test_a_group_tells_of_all_it_holds():
    failure = describe(catch(jobs.raise_a_group, None))

    assert failure.error_type == "ExceptionGroup"
    assert failure.message == "several (2 sub-exceptions)"
    assert "ValueError: one" in failure.traceback
    assert "KeyError: 'two'" in failure.traceback


def test_a_cause_is_part_of_the_traceback():
    def chain():
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    traceback = describe(catch(chain)).traceback

    assert traceback.index("KeyError: 'inner'") < traceback.index("ValueError: outer")


def test_an_exception_without_a_traceback_is_kept():
    failure = describe(ValueError("never raised"))

    assert failure.traceback == "ValueError: never raised\n"


# Fingerprints


def fingerprint(message, raiser=raise_it, error_class=ValueError):
    return describe(catch(raiser, error_class(message))).fingerprint


def raise_elsewhere(error):
    raise error


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 17 is broken", "row 18 is broken"),
        ("no such key 'a'", "no such key 'b'"),
        ('no such key "a"', 'no such key "b"'),
        ("at 0x7f00aa", "at 0x7f00bb"),
        (
            "job 0192a000-1111-7222-8333-444455556666",
            "job 0192a001-aaaa-7bbb-8ccc-ddddeeeeffff",
        ),
    ],
)
def test_failures_that_differ_in_their_numbers_and_names_are_of_one_kind(one, other):
    assert fingerprint(one) == fingerprint(other)


def test_failures_of_another_message_type_or_place_are_of_another_kind():
    prints = {
        fingerprint("broken"),
        fingerprint("lost"),
        fingerprint("broken", error_class=KeyError),
        fingerprint("broken", raiser=raise_elsewhere),
    }

    assert len(prints) == 4


def test_a_failure_without_an_exception_has_a_fingerprint_too():
    first, second = (make_failure("dbq.WorkerLost", f"host:{pid} is gone (crash 1 of 3)") for pid in (7, 8))

    assert (first.error_type, first.traceback) == ("dbq.WorkerLost", "")
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 16
