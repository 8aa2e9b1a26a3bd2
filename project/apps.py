from __future__ import annotations

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The project as an app: it has checks and commands of its own, and no models."""

    name = "project"

    def ready(self) -> None:
        from project import checks  # noqa: F401
