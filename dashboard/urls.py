"""Every address of the console, in the order of its navigation. GET shows, POST acts."""

from django.urls import path, re_path

from dashboard.views import (
    bulk,
    cleanup,
    errors,
    exports,
    failures,
    job,
    jobs,
    operations,
    overview,
    preferences,
    queues,
    verbs,
    workers,
    workspaces,
)

app_name = "dbq"

urlpatterns = [
    path("", overview.overview, name="overview"),
    # Jobs
    path("jobs/", jobs.job_list, name="job-list"),
    path("jobs/act/", bulk.jobs_act, name="jobs-act"),
    path("jobs/export/", exports.jobs_export, name="jobs-export"),
    path("jobs/<uuid:pk>/", job.job_detail, name="job-detail"),
    path("jobs/<uuid:pk>/retry/", verbs.job_retry, name="job-retry"),
    path("jobs/<uuid:pk>/requeue/", verbs.job_requeue, name="job-requeue"),
    path("jobs/<uuid:pk>/resume/", verbs.job_resume, name="job-resume"),
    path("jobs/<uuid:pk>/cancel/", verbs.job_cancel, name="job-cancel"),
    path("jobs/<uuid:pk>/reschedule/", verbs.job_reschedule, name="job-reschedule"),
    path("jobs/<uuid:pk>/delete/", verbs.job_delete, name="job-delete"),
    path("jobs/<uuid:pk>/workspace/", workspaces.job_workspace, name="job-workspace"),
    path("jobs/<uuid:pk>/reveal/", workspaces.job_reveal, name="job-reveal"),
    # Failures
    path("failures/", failures.failure_list, name="failure-list"),
    path("failures/<str:fingerprint>/act/", bulk.failure_act, name="failure-act"),
    # Queues and workers
    path("queues/", queues.queue_list, name="queue-list"),
    path("queues/<str:name>/pause/", queues.queue_pause, name="queue-pause"),
    path("queues/<str:name>/resume/", queues.queue_resume, name="queue-resume"),
    path("workers/", workers.worker_list, name="worker-list"),
    path("workers/rescue/", workers.workers_rescue, name="workers-rescue"),
    path("workers/<int:pk>/stop/", workers.worker_stop, name="worker-stop"),
    # What operators did
    path("operations/", operations.operation_list, name="operation-list"),
    path("operations/<int:pk>/", operations.operation_detail, name="operation-detail"),
    path("operations/<int:pk>/stop/", operations.operation_stop, name="operation-stop"),
    path("operations/<int:pk>/run/", operations.operation_run, name="operation-run"),
    path("cleanup/", cleanup.cleanup, name="cleanup"),
    # How this browser wants to see it
    path("preferences/theme/", preferences.theme, name="preference-theme"),
    path("preferences/refresh/", preferences.refresh, name="preference-refresh"),
    # Ends in a slash, so that Django can still add a forgotten one.
    re_path(r"^.+/$", errors.nothing_here),
]
