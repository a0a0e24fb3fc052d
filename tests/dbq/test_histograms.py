"""Durations in buckets that grow with them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbq.histograms import LAST_BUCKET, find_bucket, find_quantile, merge

pytestmark = pytest.mark.once

Seconds = st.floats(min_value=0.001, max_value=1e6)


def fill(durations):
    histogram: dict[str, int] = {}
    for seconds in durations:
        merge(histogram, {find_bucket(seconds): 1})
    return histogram


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0, "0"), (0.0005, "0"), (0.001, "0"), (0.0011, "1"), (0.002, "4"), (1.024, "40"), (1e20, "160")],
)
def test_the_bucket_of_a_duration(seconds, bucket):
    assert find_bucket(seconds) == bucket


def test_a_negative_duration_is_none_at_all():
    assert find_bucket(-5) == "0"


@settings(deadline=None)
@given(Seconds)
def test_a_bucket_is_good_to_a_fifth(seconds):
    upper = 2 ** (int(find_bucket(seconds)) / 4) / 1000

    assert upper / 2**0.25 * 0.999 <= seconds <= upper * 1.001


@settings(deadline=None)
@given(first=Seconds, second=Seconds)
def test_longer_durations_are_in_no_lower_bucket(first, second):
    low, high = sorted([first, second])

    assert int(find_bucket(low)) <= int(find_bucket(high)) <= LAST_BUCKET


@settings(deadline=None)
@given(first=st.lists(Seconds, max_size=20), second=st.lists(Seconds, max_size=20))
def test_merged_histograms_hold_what_both_held(first, second):
    assert merge(fill(first), fill(second)) == fill(first + second)


def test_merging_leaves_the_other_as_it_is():
    other = {"3": 2}

    merge({"3": 1}, other)

    assert other == {"3": 2}


def test_no_durations_have_no_quantile():
    assert find_quantile({}, 0.5) is None


@settings(deadline=None)
@given(durations=st.lists(Seconds, min_size=1, max_size=50), quantile=st.floats(0.01, 1))
def test_a_quantile_is_near_the_duration_at_its_place(durations, quantile):
    ordered = sorted(durations)
    place = max(0, -(-len(ordered) * quantile // 1) - 1)
    exact = ordered[min(int(place), len(ordered) - 1)]

    found = find_quantile(fill(durations), quantile)

    assert exact * 0.99 <= found <= max(exact, 0.001) * 1.2


def test_buckets_are_ordered_as_numbers():
    assert find_quantile({"10": 1, "9": 1}, 0.5) == 2 ** (9 / 4) / 1000
