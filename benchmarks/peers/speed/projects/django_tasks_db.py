"""django-tasks-db's task and calls; it has none for many at once."""

from django.tasks import task

from benchmarks import lines


@task
def perform(kind, job_id):
    if follower := lines.perform(kind, job_id):
        enqueue(follower, job_id)


def enqueue(kind, job_id):
    perform.enqueue(kind, job_id)
