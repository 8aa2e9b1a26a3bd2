"""Add the index of the list of projects by their newest snapshots, without blocking writers."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Exact

# The model names its reader.
NAME = "AgentWorkflowRun_snapshot_idx"
DROP = f'DROP INDEX CONCURRENTLY IF EXISTS "{NAME}"'
CREATE = f"""
    CREATE INDEX CONCURRENTLY "{NAME}" ON "AgentWorkflowRun" (snapshot_at, hashtextextended(id, 0))
    WHERE num_nonnulls(project_id, snapshot_at) = 2"""


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("agentstate", "0035_actions")]
    operations = [
        migrations.RunSQL(
            [DROP, CREATE],  # an unfinished one of an earlier attempt is dropped first
            [DROP],
            state_operations=[
                migrations.AddIndex(
                    "agentworkflowrun",
                    models.Index(
                        F("snapshot_at"),
                        Func(F("id"), Value(0), function="hashtextextended", output_field=models.BigIntegerField()),
                        condition=Q(
                            Exact(
                                Func(
                                    F("project_id"),
                                    F("snapshot_at"),
                                    function="num_nonnulls",
                                    output_field=models.IntegerField(),
                                ),
                                Value(2),
                            )
                        ),
                        name=NAME,
                    ),
                ),
                migrations.AlterModelOptions(
                    "project",
                    {
                        "permissions": [
                            (
                                "settle_project",
                                "Can decide which home of a forked, unequal or emptied project is kept",
                            ),
                            ("restore_project", "Can restore an earlier state of a project"),
                        ]
                    },
                ),
            ],
        ),
    ]
