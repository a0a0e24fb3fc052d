"""What a child tells its supervisor without a word: memory that both see, even after its death."""

import mmap
import struct
import time
from uuid import UUID

# When the control thread last went round, the id of the worker's row.
HEAD = struct.Struct("=dq")
# When the process is to be killed (0: never), the job that runs.
PLACE = struct.Struct("=d16s")
NOBODY = bytes(16)


class Board:
    """One page of shared memory for one child; the times are those of the monotonic clock."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._memory = mmap.mmap(-1, HEAD.size + threads * PLACE.size)
        self.clear()

    def clear(self) -> None:
        self._memory[:] = bytes(len(self._memory))
        self.beat(0)

    # Written by the child

    def beat(self, worker_id: int) -> None:
        HEAD.pack_into(self._memory, 0, time.monotonic(), worker_id)

    def begin(self, place: int, job_id: UUID, hard_timeout: float | None) -> None:
        """Say that a thread begins a task; hard_timeout in seconds from now."""
        deadline = time.monotonic() + hard_timeout if hard_timeout else 0
        PLACE.pack_into(self._memory, self._offset(place), deadline, job_id.bytes)

    def end(self, place: int) -> None:
        PLACE.pack_into(self._memory, self._offset(place), 0, NOBODY)

    # Read by the supervisor

    @property
    def worker_id(self) -> int:
        return HEAD.unpack_from(self._memory, 0)[1]

    def get_age(self) -> float:
        """Seconds since the child's control thread last went round."""
        return time.monotonic() - HEAD.unpack_from(self._memory, 0)[0]

    def get_running(self) -> list[UUID]:
        """The jobs whose tasks run, or ran when the child died."""
        places = (self._read(place)[1] for place in range(self.threads))
        return [UUID(bytes=job_id) for job_id in places if job_id != NOBODY]

    def get_overdue(self) -> UUID | None:
        """A job whose task has outlived its hard time-out."""
        now = time.monotonic()
        for place in range(self.threads):
            deadline, job_id = self._read(place)
            if deadline and deadline < now:
                return UUID(bytes=job_id)
        return None

    def _read(self, place: int) -> tuple[float, bytes]:
        return PLACE.unpack_from(self._memory, self._offset(place))

    def _offset(self, place: int) -> int:
        return HEAD.size + place * PLACE.size
