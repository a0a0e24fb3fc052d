"""What a workspace may hold, how it is written down and what changed in it."""

import enum
import json
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbq import workspaces
from dbq.exceptions import InvalidWorkspace
from dbq.workspaces import apply_patch, join_patches, make_patch, parse, serialize

pytestmark = pytest.mark.once


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "workspace",
    [
        {},
        {"a": None, "b": True, "c": 1, "d": 1.5, "e": "x", "f": [], "g": {}},
        {"": "", "key with blanks": 'a\tb\nc"d\\e/f', "ключ": "значение", "e": "\N{PARTY POPPER}"},
        {"deep": [[[[{"a": [1, {"b": 2}]}]]]]},
        {"big": 2**200, "small": -(2**200), "tiny": 5e-324, "zero": -0.0},
        {"brackets": "{[" * 50},
        {"backslash-u": "\\u0000 is text here"},
        {"enum": Colour.RED},
    ],
)
def test_what_json_can_say_is_written_and_read_back(workspace):
    assert json.loads(serialize(workspace)) == workspace


def test_a_tuple_is_read_back_as_a_list():
    assert json.loads(serialize({"pair": (1, (2, 3))})) == {"pair": [1, [2, 3]]}


@pytest.mark.parametrize(
    ("workspace", "problem"),
    [
        (None, "A workspace must be an object (a dict), not NoneType."),
        ([], "A workspace must be an object (a dict), not list."),
        ("{}", "A workspace must be an object (a dict), not str."),
        ({"a": float("nan")}, "workspace['a'] is nan, which JSON does not have."),
        ({"a": [float("-inf")]}, "workspace['a'][0] is -inf, which JSON does not have."),
        ({"a": {"b": {1, 2}}}, "workspace['a']['b'] is of type set, which JSON does not have."),
        ({"a": Decimal(1)}, "workspace['a'] is of type Decimal, which JSON does not have."),
        ({"a": b"x"}, "workspace['a'] is of type bytes, which JSON does not have."),
        ({"a": object}, "workspace['a'] is of type type, which JSON does not have."),
        ({1: 2}, "workspace has the key 1; keys must be strings."),
        ({None: 2}, "workspace has the key None; keys must be strings."),
        ({True: 2}, "workspace has the key True; keys must be strings."),
        ({(1, 2): 3}, "workspace has the key (1, 2); keys must be strings."),
        ({"a": [{"b": ({2: 3},)}]}, "workspace['a'][0]['b'][0] has the key 2; keys must be strings."),
        ({"a": "x\0"}, "workspace['a'] holds a NUL character, which PostgreSQL cannot store."),
        ({"a\0": 1}, "A key of workspace holds a NUL character, which PostgreSQL cannot store."),
        (
            {"a": ["\udfff"]},
            "workspace['a'][0] holds half of a surrogate pair, which is not valid Unicode.",
        ),
        (
            {"a": {"\ud83d": 1}},
            "A key of workspace['a'] holds half of a surrogate pair, which is not valid Unicode.",
        ),
    ],
)
def test_what_a_database_cannot_store_is_refused_with_the_place(workspace, problem):
    with pytest.raises(InvalidWorkspace) as raised:
        serialize(workspace)

    assert str(raised.value) == problem


def test_a_workspace_that_holds_itself_is_refused():
    workspace: dict = {}
    workspace["a"] = [workspace]

    with pytest.raises(InvalidWorkspace, match=r"is nested deeper than 20 levels\."):
        serialize(workspace)


@pytest.mark.parametrize("levels", [100, 5_000, 200_000])
def test_a_bottomless_workspace_is_refused_without_a_recursion_error(levels):
    workspace: dict = {}
    for _ in range(levels):
        workspace = {"a": workspace}

    with pytest.raises(InvalidWorkspace, match=r"is nested deeper than 20 levels\."):
        serialize(workspace)


def test_the_depth_is_a_setting(settings):
    settings.DBQ = {"WORKSPACE_MAX_DEPTH": 2}

    serialize({"a": {"b": 1}})
    with pytest.raises(InvalidWorkspace) as raised:
        serialize({"a": [[1]]})
    assert str(raised.value) == "workspace['a'][0][0] is nested deeper than 2 levels."


def test_the_size_is_a_setting(settings):
    settings.DBQ = {"WORKSPACE_MAX_BYTES": 13}

    serialize({"a": "1234"})
    with pytest.raises(InvalidWorkspace) as raised:
        serialize({"a": "123456"})
    assert str(raised.value) == "The workspace is 15 bytes of JSON; at most 13 are allowed."


def test_a_number_of_too_many_digits_is_refused():
    with pytest.raises(InvalidWorkspace):
        serialize({"a": 10**5_000})


# Text that a person typed


def test_typed_text_is_read():
    assert parse(' {"a": [1, 2.5, "ü"]} ') == {"a": [1, 2.5, "ü"]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The workspace is not valid JSON: Expecting value (line 1, column 1)."),
        (
            "{\n 'a': 1}",
            "The workspace is not valid JSON: Expecting property name enclosed in double quotes"
            " (line 2, column 2).",
        ),
        ("[1]", "A workspace must be an object (a dict), not list."),
        ("null", "A workspace must be an object (a dict), not NoneType."),
        ('{"a": NaN}', "workspace['a'] is nan, which JSON does not have."),
        ('{"a": -Infinity}', "workspace['a'] is -inf, which JSON does not have."),
        ('{"a": 1e400}', "workspace['a'] is inf, which JSON does not have."),
        ('{"a": "\\u0000"}', "workspace['a'] holds a NUL character, which PostgreSQL cannot store."),
        (
            '{"a": "\\ud800"}',
            "workspace['a'] holds half of a surrogate pair, which is not valid Unicode.",
        ),
        ('{"a":' * 100_000, "The workspace is nested too deeply."),
        ('{"a": ' + "1" * 5_000 + "}", "The workspace holds a number of too many digits."),
    ],
)
def test_typed_text_that_is_no_workspace_is_refused_with_the_place(text, problem):
    with pytest.raises(InvalidWorkspace) as raised:
        parse(text)

    assert str(raised.value) == problem


# Changes

Json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)
Workspace = st.dictionaries(st.text(max_size=3), Json, max_size=5)
# So that a patch is shorter than what it changes.
BULK = {"bulk": "x" * 400}


def as_text(workspace: dict) -> str:
    return json.dumps(workspace)


def assert_same(found: dict, expected: dict) -> None:
    """As JSON, where 1, 1.0 and true are three things."""
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@settings(max_examples=60, deadline=None)
@given(before=Workspace, after=Workspace)
def test_a_patch_leads_from_one_workspace_to_the_other(before, after):
    for bulk in ({}, BULK):
        first, second = {**bulk, **before}, {**bulk, **after}
        patch = make_patch(as_text(first), as_text(second))

        assert_same(apply_patch(first, patch), second)


@settings(max_examples=60, deadline=None)
@given(before=Workspace, after=Workspace)
def test_a_patch_is_never_much_larger_than_the_workspace_it_makes(before, after):
    patch = make_patch(as_text(before), as_text(after))

    assert len(json.dumps(patch)) <= len(as_text(after)) + workspaces.WHOLE_DOCUMENT_CHARACTERS


@settings(max_examples=60, deadline=None)
@given(states=st.lists(Workspace, min_size=2, max_size=6))
def test_patches_that_are_joined_do_what_they_did_one_by_one(states):
    texts = [as_text({**BULK, **state}) for state in states]
    joined: list = []
    for before, after in pairwise(texts):
        joined = join_patches(joined, make_patch(before, after), after)

    assert_same(apply_patch(json.loads(texts[0]), joined), json.loads(texts[-1]))


def test_patches_that_grow_too_long_become_one_that_sets_the_whole():
    texts = [as_text({"n": n}) for n in range(200)]
    joined: list = []
    for before, after in pairwise(texts):
        joined = join_patches(joined, make_patch(before, after), after)

    assert len(json.dumps(joined)) <= workspaces.SMALL_PATCH_CHARACTERS
    assert apply_patch({"n": 0}, joined) == {"n": 199}


def test_applying_a_patch_leaves_the_given_workspace_as_it_is():
    before = {**BULK, "a": [1, {"b": 2}]}
    patch = make_patch(as_text(before), as_text({**BULK, "a": [1, {"b": 3}]}))

    apply_patch(before, patch)

    assert before["a"] == [1, {"b": 2}]


def test_large_workspaces_are_not_searched_for_changes():
    before = as_text({"a": "x" * 150_000})
    after = as_text({"a": "y" * 150_000})

    assert make_patch(before, after) == [{"op": "replace", "path": "", "value": json.loads(after)}]


def test_equal_workspaces_need_no_change():
    assert make_patch('{"a": 1}', '{"a":1}') == []
