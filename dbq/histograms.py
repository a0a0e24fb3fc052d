"""Durations in buckets whose width grows with them: small, mergeable, and good to nine per cent.

Bucket b holds durations above 2^((b−1)/4) ms and up to 2^(b/4) ms; bucket 0 everything up to 1 ms. A
histogram is a dict {"bucket": count} that leaves out empty buckets.
"""

import math

STEPS_PER_DOUBLING = 4
LAST_BUCKET = 160

Histogram = dict[str, int]


def find_bucket(seconds: float) -> str:
    """The bucket of a duration."""
    milliseconds = seconds * 1000
    if milliseconds <= 1:
        return "0"
    return str(min(LAST_BUCKET, math.ceil(math.log2(milliseconds) * STEPS_PER_DOUBLING)))


def merge(histogram: Histogram, other: Histogram) -> Histogram:
    """Add the counts of another histogram to the first, and return it."""
    for bucket, count in other.items():
        histogram[bucket] = histogram.get(bucket, 0) + count
    return histogram


def find_quantile(histogram: Histogram, quantile: float) -> float | None:
    """The duration in seconds that a share of all (0 to 1) does not exceed; None for no durations."""
    remaining = quantile * sum(histogram.values())
    for bucket in sorted(histogram, key=int):
        remaining -= histogram[bucket]
        if remaining <= 0:
            return 2 ** (int(bucket) / STEPS_PER_DOUBLING) / 1000
    return None
