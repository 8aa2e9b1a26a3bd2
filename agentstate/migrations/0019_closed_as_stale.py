"""Add a column that says that a run was closed as stale, which only the error's text said before.

The column has a default in the database, so that processes of the version before can still insert runs. Reversed, the
error's text still says it, and a later migration forward reads it from there.
"""

from __future__ import annotations

from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, RunLocking

# The status in the words of an index: a search of the few failed runs, not a scan of all. A run whose process died
# carries a snapshot or none.
FILL = """
    UPDATE "AgentWorkflowRun" SET closed_as_stale = true
    WHERE status || num_nulls(snapshot_at)::text IN ('failed0', 'failed1')
        AND starts_with(error, 'Closed as stale')"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0018_flag_history_in_any_schema")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [
                RunLocking(
                    'ALTER TABLE "AgentWorkflowRun" ADD COLUMN closed_as_stale boolean NOT NULL DEFAULT false',
                    'ALTER TABLE IF EXISTS "AgentWorkflowRun" DROP COLUMN IF EXISTS closed_as_stale',
                    table="AgentWorkflowRun",
                )
            ],
            [
                migrations.AddField(
                    "agentworkflowrun", "closed_as_stale", models.BooleanField(default=False, db_default=False)
                )
            ],
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
