"""The steps of the rollout, as they were taken."""

from __future__ import annotations

from django.db import migrations, models

from agentstate.migrations._operations import RunLocking, dropping

# Steps set and lift the freeze, never a migration; but a freeze would be in nobody's hands without what comes after.
UNFREEZE = """
DROP TRIGGER IF EXISTS agentstate_freeze ON "Project";
DROP TRIGGER IF EXISTS agentstate_freeze_insert ON "Project";
DROP FUNCTION IF EXISTS agentstate_freeze();
"""


class Migration(migrations.Migration):
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
