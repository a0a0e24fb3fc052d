"""django-ox's task and calls."""

from django.tasks import task
from django_ox.bulk import enqueue_many
from django_ox.models import OxTask

from benchmarks import runs


@task
def perform(job_id):
    runs.perform(job_id)


def enqueue(job_id):
    perform.enqueue(job_id)


def enqueue_bulk(ids):
    enqueue_many(perform, [((job_id,), {}) for job_id in ids])


def read_states():
    return {arguments[0]: status for arguments, status in OxTask.objects.values_list("args", "status")}
