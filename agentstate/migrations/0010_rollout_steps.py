"""Add the history of the rollout's steps."""

from __future__ import annotations

from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, RunLocking, dropping

# Only steps set and lift the freeze. Without this table no step can lift it, so the reversal does.
UNFREEZE = """
DROP TRIGGER IF EXISTS agentstate_freeze ON "Project";
DROP TRIGGER IF EXISTS agentstate_freeze_insert ON "Project";
DROP FUNCTION IF EXISTS agentstate_freeze();
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0009_left_aside_decisions")]
    operations = [
        migrations.CreateModel(
            name="RolloutStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("from_stage", models.TextField()),
                ("from_percent", models.DecimalField(decimal_places=1, max_digits=4)),
                ("to_stage", models.TextField()),
                ("to_percent", models.DecimalField(decimal_places=1, max_digits=4)),
                ("requested_by", models.TextField()),
                (
                    "override",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="Why the step was taken although a condition was not met; empty if all were.",
                    ),
                ),
                (
                    "conditions",
                    models.JSONField(blank=True, default=list, help_text="The conditions when the step was taken."),
                ),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "AgentStateRolloutStep"},
        ),
        RunLocking("SELECT", UNFREEZE),
    ]
    operations = dropping(operations)
