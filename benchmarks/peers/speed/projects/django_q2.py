"""django-q2's task and calls; it has none for many at once."""

from django_q.tasks import async_task

from benchmarks import lines


def perform(kind, job_id):
    if follower := lines.perform(kind, job_id):
        enqueue(follower, job_id)


def enqueue(kind, job_id):
    async_task(perform, kind, job_id)
