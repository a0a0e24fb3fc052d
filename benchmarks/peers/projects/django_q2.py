"""django-q2's task and calls; it has none for many at once."""

from django_q.models import OrmQ, Task
from django_q.tasks import async_task

from benchmarks import runs


def perform(job_id):
    runs.perform(job_id)


def enqueue(job_id):
    async_task(perform, job_id)


def read_states():
    ended = Task.objects.values_list("args", "success")
    states = {arguments[0]: "success" if success else "failure" for arguments, success in ended}
    # What is still queued will be delivered again, whatever has ended.
    return states | {row.args()[0]: "queued" for row in OrmQ.objects.all()}
