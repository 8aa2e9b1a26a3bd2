"""Add the index of the saves among the events of runs, without blocking writers."""

from __future__ import annotations

from django.db import migrations, models

DROP = 'DROP INDEX CONCURRENTLY IF EXISTS "AgentWorkflowRunEvent_save_idx"'


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("agentstate", "0011_rollout_page")]
    operations = [
        migrations.RunSQL(
            # An unfinished index of an earlier attempt is dropped first.
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
