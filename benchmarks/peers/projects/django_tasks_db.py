"""django-tasks-db's task and calls; it has none for many at once."""

from django.tasks import task
from django_tasks_db.models import DBTaskResult

from benchmarks import runs


@task
def perform(job_id):
    runs.perform(job_id)


def enqueue(job_id):
    perform.enqueue(job_id)


def read_states():
    rows = DBTaskResult.objects.values_list("args_kwargs", "status")
    return {arguments["args"][0]: status for arguments, status in rows}
