"""Seeing that a database in files was written to, without asking it: Linux says so.

The protocol is that of inotify(7): a descriptor that can be waited for, and records of fixed size with a
name behind each.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_Q_OVERFLOW = 0x2, 0x80, 0x100, 0x4000
# Watch descriptor, mask, cookie, length of the name.
RECORD = struct.Struct("iIII")
READ_BYTES = 65_536
# What SQLite writes to beside the database itself; its shared memory is written without a word.
SUFFIXES = ("", "-wal", "-journal")

logger = logging.getLogger("dbq")


class FileWatch:
    """Tells of writes to a SQLite database, by whatever process of this machine; raises OSError if it cannot.

    Args:
        path: of the database's file; those that SQLite keeps beside it may come and go.
    """

    def __init__(self, path: Path) -> None:
        self._names = {os.fsencode(f"{path.name}{suffix}") for suffix in SUFFIXES}
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            # The folder: a file that is made anew would not be watched any more.
            mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE
            _check(libc.inotify_add_watch(self._descriptor, os.fsencode(path.parent), mask))
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bool:
        """Whether the database was written to since the last read; does not wait."""
        is_changed = False
        while records := self._read_some():
            is_changed |= any(
                mask & IN_Q_OVERFLOW or name in self._names for mask, name in _split_records(records)
            )
        return is_changed

    def _read_some(self) -> bytes:
        try:
            return os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self._descriptor)


def watch(path: str) -> FileWatch | None:
    """Watch the database in that file, or None where that cannot be."""
    if sys.platform != "linux" or not Path(path).is_file():
        return None
    try:
        return FileWatch(Path(path).resolve())
    except OSError as error:
        # All that one user may have are taken, for one.
        logger.info("Cannot watch the database's files, looking often instead: %s", error)
        return None


def _split_records(records: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(records):
        _watched, mask, _cookie, length = RECORD.unpack_from(records, place)
        place += RECORD.size
        yield mask, records[place : place + length].rstrip(b"\0")
        place += length


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
