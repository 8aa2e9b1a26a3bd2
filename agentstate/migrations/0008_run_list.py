"""Add the indexes of the lists of runs and of sessions, without blocking writers."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Func, Value
from django.db.models.functions import Cast, Left

# The models name the reader of each. agentstate/models/expressions.py says why they hold hashes of ids and the
# beginning of a workflow's name.
INDEXES = {
    "AgentWorkflowRun_status_idx": (
        '"AgentWorkflowRun" ((status || num_nulls(snapshot_at)::text), started_at, hashtextextended(id, 0))'
    ),
    "AgentWorkflowRun_workflow_idx": (
        '"AgentWorkflowRun" '
        "(left(workflow_id, 100), status, num_nulls(snapshot_at), started_at, hashtextextended(id, 0))"
    ),
    "AgentWorkflowRun_started_idx": '"AgentWorkflowRun" (hashtextextended(project_id, 0), started_at)',
    "AgentSession_created_idx": '"AgentSession" (created_at, hashtextextended(id, 0))',
}


def make(name: str, columns: str) -> migrations.RunSQL:
    """Make an index without blocking writers. An unfinished one of an earlier attempt is dropped first."""
    drop = f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"'
    return migrations.RunSQL([drop, f'CREATE INDEX CONCURRENTLY "{name}" ON {columns}'], [drop])


def id_hash(field: str = "id") -> Func:
    return Func(F(field), Value(0), function="hashtextextended", output_field=models.BigIntegerField())


def lacks_snapshot() -> Func:
    return Func(F("snapshot_at"), function="num_nulls", output_field=models.IntegerField())


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("agentstate", "0007_shadow_reads")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    "agentworkflowrun",
                    models.Index(
                        Func(
                            F("status"),
                            Cast(lacks_snapshot(), models.TextField()),
                            template="(%(expressions)s)",
                            arg_joiner=" || ",
                            output_field=models.TextField(),
                        ),
                        F("started_at"),
                        id_hash(),
                        name="AgentWorkflowRun_status_idx",
                    ),
                ),
                migrations.AddIndex(
                    "agentworkflowrun",
                    models.Index(
                        Left("workflow_id", 100),
                        F("status"),
                        lacks_snapshot(),
                        F("started_at"),
                        id_hash(),
                        name="AgentWorkflowRun_workflow_idx",
                    ),
                ),
                migrations.AddIndex(
                    "agentworkflowrun",
                    models.Index(id_hash("project_id"), F("started_at"), name="AgentWorkflowRun_started_idx"),
                ),
                migrations.AddIndex(
                    "agentsession",
                    models.Index(F("created_at"), id_hash(), name="AgentSession_created_idx"),
                ),
            ],
            database_operations=[
                *(make(name, columns) for name, columns in INDEXES.items()),
                # Without it the planner has no statistics of the expressions in the indexes.
                migrations.RunSQL('ANALYZE "AgentWorkflowRun"', migrations.RunSQL.noop),
            ],
        ),
    ]
