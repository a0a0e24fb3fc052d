from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"
    label = "dbq_dashboard"
    verbose_name = "dbq dashboard"

    def ready(self) -> None:
        from dashboard import checks  # noqa: F401
