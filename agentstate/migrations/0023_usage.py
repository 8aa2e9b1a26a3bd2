"""Add a column for the tokens that a run used, and what they cost."""

from __future__ import annotations

from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, RunLocking


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0025_api_tokens")]
    operations = [
        migrations.SeparateDatabaseAndState(
            # Reversed, each addition is still in its event model.usage.
            database_operations=[
                RunLocking(
                    'ALTER TABLE "AgentWorkflowRun" ADD COLUMN usage jsonb',
                    'ALTER TABLE IF EXISTS "AgentWorkflowRun" DROP COLUMN IF EXISTS usage',
                    table="AgentWorkflowRun",
                )
            ],
            state_operations=[
                migrations.AddField("agentworkflowrun", "usage", models.JSONField(blank=True, null=True))
            ],
        )
    ]
