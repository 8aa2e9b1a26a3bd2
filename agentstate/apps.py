"""The application's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import pre_migrate


class AgentStateConfig(AppConfig):
    """AgentKit state for projects."""

    name = "agentstate"
    verbose_name = "AgentKit state"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, look at the database before ``migrate`` changes anything, and count what reads find."""
        from agentstate import checks  # noqa: F401
        from agentstate.migrations._adoption import check_before_migrating
        from agentstate.state.read_counts import start_counting

        pre_migrate.connect(check_before_migrating, sender=self, dispatch_uid="agentstate.adoption")
        start_counting()
