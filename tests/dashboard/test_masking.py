"""Secrets: what is hidden, what is not, and that an edit gives none away."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbq import failures
from dbq.exceptions import InvalidWorkspace
from dbq.masking import MASK, hide_for_editing, mask, mask_changes, mask_text, mask_traceback, restore


@pytest.mark.parametrize(
    "key",
    ["api_token", "PASSWORD", "aws_secret", "sessionid", "authToken", "DSN", "credentials", "Set-Cookie"],
)
def test_a_value_under_a_secret_key_is_hidden_whole(key):
    assert mask({key: {"user": "ada", "list": [1, 2]}, "other": [{key: 12}]}) == {
        key: MASK,
        "other": [{key: MASK}],
    }


def test_more_keys_can_be_named_in_the_settings(settings):
    assert mask({"iban": "DE02"}) == {"iban": "DE02"}
    settings.DBQ = {"SECRET_KEYS": ["iban"]}
    assert mask({"IBAN_of_ada": "DE02"}) == {"IBAN_of_ada": MASK}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF-123", "eyJ"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("use sk-proj-abcdefghijklmnop please", "abcdefghijklmnop"),
        ("ghp_abcdefghijklmnopqrst", "abcdefghijklmnopqrst"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("postgres://ada:lovelace@db/app", "lovelace"),
        ("https://ada:pa/ss@example.org/", "pa/ss"),
        ("https://ada:p@ss@example.org/", "ss@"),
        ("https://ghp@example.org/", "ghp"),
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("Authorization: Basic YWRhOmxvdmVsYWNl", "YWRhOmxvdmVsYWNl"),
        ("could not connect: password=lovelace host=db", "lovelace"),
        ("{'user': 'ada', 'password': 'love lace'}", "love lace"),
        ("{'credentials': {'a': {'b': 'lovelace'}}, 'z': 1}", "lovelace"),
        ('{"api_key": "lovelace", "n": 1}', "lovelace"),
        (r'body was "{\"token\": \"love lace\"}"', "love lace"),
        ("GET /?access_token=lovelace&page=1", "lovelace"),
    ],
)
def test_what_looks_secret_in_a_text_is_hidden(text, secret):
    masked = mask_text(text)
    assert secret not in masked
    assert MASK in masked
    assert mask({"note": text, "list": [text]}) == {"note": masked, "list": [masked]}


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'customer'",
        "TokenExpiredError: yesterday",
        "duplicate key value violates unique constraint",
        "Basic authentication failed",
        "12 jobs are waiting",
        "https://example.org/path",
        '{"customer": {"id": 42}}',
    ],
)
def test_what_is_no_secret_stays_readable(text):
    assert mask_text(text) == text


def test_a_key_that_is_a_token_is_hidden_and_no_value_gets_lost():
    masked = mask({"ghp_abcdefghijklmnopqrst": 1, "ghp_zyxwvutsrqponmlkjihg": 2})
    assert list(masked.values()) == [1, 2]
    assert "ghp_" not in str(masked)


def test_lines_of_code_in_a_traceback_stay_readable_but_for_literals():
    masked = mask_traceback(
        "Traceback (most recent call last):\n"
        '  File "/app/token.py", line 3, in get_token\n'
        '    token = get(rows, key=by_count, password="lovelace")\n'
        "app.AuthError: token=lovelace was refused\n"
    )
    assert "token = get(rows, key=by_count" in masked
    assert 'File "/app/token.py"' in masked
    assert "lovelace" not in masked


def test_a_failure_is_kept_without_its_secrets():
    try:
        raise RuntimeError("login failed: password=lovelace")
    except RuntimeError as error:
        failure = failures.describe(error)
    assert "lovelace" not in failure.message + failure.traceback.rpartition("RuntimeError")[2]
    assert failure.message.startswith("login failed: password=")


def test_the_path_of_a_change_counts_too():
    changes = [
        {"op": "replace", "path": "/account/password", "value": "lovelace"},
        {"op": "add", "path": "/credentials/0/user", "value": "ada"},
        {"op": "add", "path": "/note", "value": {"token": "lovelace", "n": 1}},
        {"op": "remove", "path": "/n"},
    ]
    values = [change.get("value") for change in mask_changes(changes)]
    assert values == [MASK, MASK, {"token": MASK, "n": 1}, None]
    assert changes[0]["value"] == "lovelace"


# Editing

WORKSPACE = {
    "api_token": "lovelace",
    "n": 1,
    "db": {"url": "postgres://ada:lovelace@db/app", "password": 12},
    "items": ["a", {"session": {"id": 1}}, {"session": {"id": 2}}],
    "body": '{"secret": "lovelace"}',
    "stars": MASK,
}


def test_secrets_survive_the_round_trip():
    hidden = hide_for_editing(WORKSPACE)
    assert "lovelace" not in str(hidden)
    assert restore(hidden, WORKSPACE) == WORKSPACE


def test_secrets_move_along_with_the_list_they_are_in():
    hidden = hide_for_editing(WORKSPACE)
    del hidden["items"][1]
    hidden["items"].insert(0, "new")
    assert restore(hidden, WORKSPACE)["items"] == ["new", "a", {"session": {"id": 2}}]


def test_a_new_value_in_the_place_of_a_placeholder_is_taken():
    hidden = hide_for_editing(WORKSPACE) | {"api_token": "another", "n": 2}
    assert restore(hidden, WORKSPACE) == WORKSPACE | {"api_token": "another", "n": 2}


@pytest.mark.parametrize(
    "edit",
    [
        lambda hidden: {"note": hidden["api_token"]},
        lambda hidden: {"note": f"it is {hidden['api_token']}."},
        lambda hidden: {hidden["api_token"]: 1},
        lambda hidden: {"list": [hidden["db"]["password"]]},
        lambda hidden: {"note": hidden["items"][1]["session"]},
        lambda hidden: {"note": hidden["db"]["url"].removeprefix("postgres://").removesuffix("@db/app")},
    ],
)
def test_a_secret_cannot_be_moved_to_where_it_would_be_shown(edit):
    with pytest.raises(InvalidWorkspace, match="not moved to where it would be shown"):
        restore(edit(hide_for_editing(WORKSPACE)), WORKSPACE)


def test_the_mask_itself_is_never_stored():
    with pytest.raises(InvalidWorkspace, match="write the value itself"):
        restore({"api_token": MASK}, WORKSPACE)
    with pytest.raises(InvalidWorkspace, match="no masked value"):
        restore({"api_token": f"{MASK}(99)"}, WORKSPACE)


texts = st.text(max_size=20) | st.sampled_from(["Bearer abcdef0123", "token=x y", '{"password": 1}', MASK])
keys = st.sampled_from(["a", "b", "token", "password"])
workspaces = st.dictionaries(
    keys,
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(workspaces)
def test_whatever_it_holds_an_unchanged_workspace_comes_back_unchanged(workspace):
    assert restore(hide_for_editing(workspace), workspace) == workspace


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(workspaces)
def test_masking_twice_hides_no_more(workspace):
    assert mask(mask(workspace)) == mask(workspace)


@pytest.mark.parametrize("piece", ["a", "pass", "://", "bearer ", "token={", "'", "eyJ", "sk-", "\\"])
def test_no_text_takes_long(piece):
    text = piece * (200_000 // len(piece))
    begun = time.thread_time()
    mask_text(text)
    assert time.thread_time() - begun < 3
