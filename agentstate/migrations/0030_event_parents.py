"""Add the parent of an event, and the index of failures among the events of runs, without blocking writers."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Func, Q

from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import AddIndex, RunLocking

# The collation that the ids have, so that the two can be joined.
PARENT = f"""
ALTER TABLE "AgentWorkflowRunEvent" ADD COLUMN IF NOT EXISTS parent_id text;
{match_collation(("AgentWorkflowRunEvent", "parent_id"))}
"""
# Reversed, timelines are flat again. What happened, and in which order, is in the other columns.
NO_PARENT = 'ALTER TABLE IF EXISTS "AgentWorkflowRunEvent" DROP COLUMN IF EXISTS parent_id'

IS_FAILURE = """(type ~ '(^|[._])(error|failed|failure|exception)$'
    OR lower(payload ->> 'status') IN ('error', 'failed', 'failure'))"""


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("agentstate", "0033_projects")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunLocking(PARENT, NO_PARENT, table="AgentWorkflowRunEvent")],
            state_operations=[
                migrations.AddField("agentworkflowrunevent", "parent_id", models.TextField(blank=True, null=True))
            ],
        ),
        AddIndex(
            "agentworkflowrunevent",
            models.Index(
                fields=["run", "created_at"],
                condition=Q(Func(template=IS_FAILURE, output_field=models.BooleanField())),
                name="AgentWorkflowRunEvent_err_idx",
            ),
        ),
    ]
