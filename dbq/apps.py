from django.apps import AppConfig


class DbqConfig(AppConfig):
    name = "dbq"
    label = "dbq"
    verbose_name = "Job queue"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from dbq import checks, logs  # noqa: F401  (checks register themselves)

        logs.hide_secrets()
