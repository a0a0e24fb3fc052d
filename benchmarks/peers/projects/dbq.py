"""dbq's job and calls."""

from benchmarks import runs
from dbq.models import Job


def perform(job):
    runs.perform(job.workspace["id"])


def enqueue(job_id):
    Job.objects.create(name="perform", workspace={"id": job_id})


def enqueue_bulk(ids):
    Job.objects.bulk_create([Job(name="perform", workspace={"id": job_id}) for job_id in ids])


def read_states():
    rows = Job.objects.values_list("workspace", "state")
    return {workspace["id"]: state for workspace, state in rows}
