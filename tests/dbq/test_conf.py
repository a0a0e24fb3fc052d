"""settings.DBQ: its defaults, its rules and what it says when one is broken."""

import pytest

from dbq.conf import RULES, Configuration, find_problems, get_configuration
from dbq.exceptions import ConfigurationError

pytestmark = pytest.mark.once


def test_without_a_setting_the_defaults_hold(settings):
    settings.DBQ = {}

    assert get_configuration() == Configuration()
    assert get_configuration().LEASE_SECONDS == 60


def test_the_defaults_keep_their_own_rules():
    defaults = {name: getattr(Configuration(), name) for name in RULES}

    assert list(find_problems(defaults)) == []


def test_every_key_has_a_rule():
    assert set(RULES) == set(Configuration.__dataclass_fields__)


def test_what_is_given_replaces_the_default(settings):
    settings.DBQ = {"MAX_CRASHES": 7}

    assert get_configuration() == Configuration(MAX_CRASHES=7)


def test_a_changed_setting_is_read_again(settings):
    settings.DBQ = {"PREFETCH": 1}
    assert get_configuration().PREFETCH == 1

    settings.DBQ = {"PREFETCH": 2}

    assert get_configuration().PREFETCH == 2


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "settings.DBQ must be a dict, not list."),
        (None, "settings.DBQ must be a dict, not NoneType."),
        (
            {"LEASE_SECOND": 1},
            'settings.DBQ["LEASE_SECOND"] is not a setting of dbq. Did you mean "LEASE_SECONDS"?',
        ),
        ({"x": 1}, 'settings.DBQ["x"] is not a setting of dbq.'),
        ({7: 1}, 'settings.DBQ["7"] is not a setting of dbq.'),
        ({"LEASE_SECONDS": 0}, 'settings.DBQ["LEASE_SECONDS"] must be a number above 0, not 0.'),
        ({"LEASE_SECONDS": -1}, 'settings.DBQ["LEASE_SECONDS"] must be a number above 0, not -1.'),
        ({"LEASE_SECONDS": True}, 'settings.DBQ["LEASE_SECONDS"] must be a number above 0, not True.'),
        ({"SWEEP_SECONDS": "1"}, "settings.DBQ[\"SWEEP_SECONDS\"] must be a number above 0, not '1'."),
        ({"LEASE_SECONDS": None}, 'settings.DBQ["LEASE_SECONDS"] must be a number above 0, not None.'),
        (
            {"LEASE_SECONDS": float("nan")},
            'settings.DBQ["LEASE_SECONDS"] must be a number above 0, not nan.',
        ),
        (
            {"LEASE_SECONDS": float("inf")},
            'settings.DBQ["LEASE_SECONDS"] must be a number above 0, not inf.',
        ),
        (
            {"SHUTDOWN_SECONDS": -0.1},
            'settings.DBQ["SHUTDOWN_SECONDS"] must be a number of 0 or more, not -0.1.',
        ),
        ({"MAX_CRASHES": 1.5}, 'settings.DBQ["MAX_CRASHES"] must be a whole number above 0, not 1.5.'),
        ({"MAX_CRASHES": 0}, 'settings.DBQ["MAX_CRASHES"] must be a whole number above 0, not 0.'),
        ({"PREFETCH": -1}, 'settings.DBQ["PREFETCH"] must be a whole number of 0 or more, not -1.'),
        (
            {"WORKSPACE_MAX_DEPTH": 30},
            'settings.DBQ["WORKSPACE_MAX_DEPTH"] must be a whole number from 1 to 29, not 30.',
        ),
        (
            {"POLL_SECONDS": 0},
            'settings.DBQ["POLL_SECONDS"] must be a number above 0, or None, not 0.',
        ),
        ({"NOTIFY": 1}, 'settings.DBQ["NOTIFY"] must be True or False, not 1.'),
        (
            {"SECRET_KEYS": "pin"},
            "settings.DBQ[\"SECRET_KEYS\"] must be a list of strings, not 'pin'.",
        ),
        (
            {"ENVIRONMENT": "x" * 41},
            f'settings.DBQ["ENVIRONMENT"] must be a text of at most 40 characters, not {"x" * 41!r}.',
        ),
        ({"SECRET_KEYS": [1]}, 'settings.DBQ["SECRET_KEYS"] must be a list of strings, not [1].'),
        (
            {"LEASE_SECONDS": 20},
            'settings.DBQ["LEASE_SECONDS"] (20) must be at least three times'
            ' settings.DBQ["HEARTBEAT_SECONDS"] (10).',
        ),
    ],
)
def test_a_broken_rule_is_told_in_one_sentence(given, problem, settings):
    assert list(find_problems(given)) == [problem]
    settings.DBQ = given
    with pytest.raises(ConfigurationError) as raised:
        get_configuration()
    assert str(raised.value) == problem


@pytest.mark.parametrize(
    "given",
    [
        {"SHUTDOWN_SECONDS": 0},
        {"PREFETCH": 0},
        {"POLL_SECONDS": None},
        {"POLL_SECONDS": 0.5},
        {"SECRET_KEYS": ("pin",)},
        {"ENVIRONMENT": "staging"},
        {"LEASE_SECONDS": 30, "HEARTBEAT_SECONDS": 10.0},
        {"WORKSPACE_MAX_DEPTH": 29},
    ],
)
def test_what_keeps_the_rules_is_no_problem(given):
    assert list(find_problems(given)) == []
