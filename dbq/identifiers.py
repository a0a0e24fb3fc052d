"""Job ids: UUID version 7, made in Python so that they are known before the row is written."""

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_lock = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """Make a UUID of version 7 (RFC 9562 §5.7) that sorts after every earlier one of this process.

    The twelve bits behind the milliseconds hold their fraction (RFC 9562 §6.2, method 3); when the
    clock stands still or steps back, they count on instead.
    """
    global _last
    nanoseconds = time.time_ns()
    ticks = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
    with _lock:
        ticks = _last = max(ticks, _last + 1)
    random_bits = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return _assemble(ticks >> 12, ticks & 0xFFF, random_bits)


def uuid7_floor(moment: datetime) -> uuid.UUID:
    """The smallest UUID of version 7 for that moment: ids below it were made before it."""
    milliseconds = max(0, int(moment.astimezone(UTC).timestamp() * 1000))
    return _assemble(milliseconds, 0, 0)


def read_moment(identifier: uuid.UUID) -> datetime:
    """When a UUID of version 7 was made, to the microsecond if `uuid7` made it.

    Raises ValueError for another version, OverflowError for a time that no calendar has.
    """
    if identifier.version != 7:
        raise ValueError(f"{identifier} is a UUID of version {identifier.version}, not 7.")
    ticks = (identifier.int >> 80 << 12) | (identifier.int >> 64 & 0xFFF)
    return EPOCH + timedelta(microseconds=ticks * 1000 // 4096)


def _assemble(milliseconds: int, fraction: int, random_bits: int) -> uuid.UUID:
    version, variant = 7 << 76, 2 << 62
    return uuid.UUID(int=milliseconds << 80 | version | fraction << 64 | variant | random_bits)


def _forget_lock() -> None:
    # A fork may happen while another thread holds the lock; the child would wait for ever.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
