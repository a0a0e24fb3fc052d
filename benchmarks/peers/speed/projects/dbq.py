"""dbq's jobs and calls."""

from benchmarks import lines
from dbq.models import Job


def perform(job):
    lines.perform(job.name, job.workspace["id"])


def first(job):
    lines.perform("first", job.workspace["id"])


def second(job):
    lines.perform("second", job.workspace["id"])


def third(job):
    lines.perform("third", job.workspace["id"])


def enqueue(kind, job_id):
    Job.objects.create(name=kind, workspace={"id": job_id})


def enqueue_bulk(kind, ids):
    Job.objects.bulk_create([Job(name=kind, workspace={"id": job_id}) for job_id in ids])
