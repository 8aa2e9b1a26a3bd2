"""Drop the five legacy columns; backwards, bring them back with their content."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.migrations.operations.base import Operation

from agentstate.contract.columns import bring_back, drop


class DropLegacyColumns(Operation):
    """Drop the columns, or bring them back."""

    reduces_to_sql = False
    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: the model that has the columns is unmanaged."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        drop()

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        bring_back()

    def describe(self) -> str:
        return "Drop the five legacy columns"


class Migration(migrations.Migration):
    # Both ways look first, change in a transaction of their own, and can be run again where they were killed; the
    # columns come back in one transaction and are seeded in many.
    atomic = False
    dependencies = [("agentstate", "0007_shadow_reads")]
    operations = [DropLegacyColumns()]
