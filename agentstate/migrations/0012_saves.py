"""The index of what saves left in runs, made while others write."""

from __future__ import annotations

from django.db import migrations, models

DROP = 'DROP INDEX CONCURRENTLY IF EXISTS "AgentWorkflowRunEvent_save_idx"'


class Migration(migrations.Migration):
    atomic = False  # as CONCURRENTLY wants it
    dependencies = [("agentstate", "0011_rollout_page")]
    operations = [
        migrations.RunSQL(
            # One that an attempt left unfinished is made anew.
            [
                DROP,
                """
                CREATE INDEX CONCURRENTLY "AgentWorkflowRunEvent_save_idx"
                ON "AgentWorkflowRunEvent" (run_id, created_at) WHERE type = 'state.changed'
                """,
            ],
            [DROP],
            state_operations=[
                migrations.AddIndex(
                    "agentworkflowrunevent",
                    models.Index(
                        fields=["run", "created_at"],
                        condition=models.Q(type="state.changed"),
                        name="AgentWorkflowRunEvent_save_idx",
                    ),
                ),
            ],
        ),
    ]
