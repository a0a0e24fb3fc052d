"""The probes, for the root of a project: path("", include("dbq.health_urls"))."""

from django.urls import path

from dbq import probes

app_name = "dbq_health"

urlpatterns = [
    path("healthz/live", probes.live, name="live"),
    path("healthz/ready", probes.ready, name="ready"),
    path("healthz/queue", probes.queue, name="queue"),
]
