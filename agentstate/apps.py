"""The configuration of the app."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate


class AgentStateConfig(AppConfig):
    """The AgentKit state of projects."""

    name = "agentstate"
    verbose_name = "AgentKit state"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and the receivers, and start to count what reads find."""
        from agentstate import checks  # noqa: F401
        from agentstate.connection_settings import fix_settings
        from agentstate.migrations._adoption import check_before_migrating
        from agentstate.migrations._prisma_runs import report_copied_rows
        from agentstate.state.read_counts import start_counting

        connection_created.connect(fix_settings, dispatch_uid="agentstate.connection_settings")
        pre_migrate.connect(check_before_migrating, sender=self, dispatch_uid="agentstate.adoption")
        post_migrate.connect(report_copied_rows, sender=self, dispatch_uid="agentstate.prisma_runs")
        start_counting()
