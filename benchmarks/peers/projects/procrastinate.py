"""procrastinate's task and calls, and the periodic task that its documentation proposes."""

from django.conf import settings
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from benchmarks import runs


@app.task
def perform(job_id):
    runs.perform(job_id)


if settings.BENCH_RETRY_STALLED:

    @app.periodic(cron="* * * * *")
    @app.task(queueing_lock="retry_stalled", pass_context=True)
    async def retry_stalled(context, timestamp):
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=30):
            await app.job_manager.retry_job(job)


def enqueue(job_id):
    perform.defer(job_id=job_id)


def enqueue_bulk(ids):
    perform.batch_defer(*({"job_id": job_id} for job_id in ids))


def read_states():
    rows = ProcrastinateJob.objects.filter(task_name=perform.name).values_list("args", "status")
    return {arguments["job_id"]: status for arguments, status in rows}
