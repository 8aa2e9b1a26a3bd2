"""The configuration of the app that drops the legacy columns."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.db.models.signals import pre_migrate


class ContractConfig(AppConfig):
    """The app whose migration drops the legacy columns, or brings them back."""

    name = "agentstate.contract"
    label = "agentstate_contract"
    verbose_name = "AgentKit state: contract"

    def ready(self) -> None:
        """Check the database before ``migrate`` changes anything."""
        from agentstate.contract.refusals import check_before_migrating

        # Django sends pre_migrate for apps with models only, and this app has none.
        sender = apps.get_app_config("agentstate")
        pre_migrate.connect(check_before_migrating, sender=sender, dispatch_uid="agentstate.contract")
