"""django-ox's task and calls."""

from django.tasks import task
from django_ox.bulk import enqueue_many

from benchmarks import lines


@task
def perform(kind, job_id):
    if follower := lines.perform(kind, job_id):
        enqueue(follower, job_id)


def enqueue(kind, job_id):
    perform.enqueue(kind, job_id)


def enqueue_bulk(kind, ids):
    enqueue_many(perform, [((kind, job_id), {}) for job_id in ids])
