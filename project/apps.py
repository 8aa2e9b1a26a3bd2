from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class ProjectConfig(AppConfig):
    """The site as an app: checks and commands, no models."""

    name = "project"

    def ready(self) -> None:
        from project import checks  # noqa: F401
        from project.pooled import set_search_path_by_transaction

        connection_created.connect(set_search_path_by_transaction)
