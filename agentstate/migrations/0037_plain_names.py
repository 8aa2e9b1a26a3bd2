"""Name runs, sessions, documents and passes as people do. Nothing changes in the database."""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration

PERMISSIONS_OF_RUNS = [
    ("decide_approvals", "Can approve or reject calls that wait for approval"),
    ("cancel_runs", "Can cancel pending and running runs"),
    ("close_stale_runs", "Can close runs whose process died"),
]


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0032_passes_under_control")]
    operations = [
        migrations.AlterModelOptions("agentdocument", {"verbose_name": "document"}),
        migrations.AlterModelOptions("agentsession", {"verbose_name": "session"}),
        migrations.AlterModelOptions("agentworkflowrun", {"verbose_name": "run", "permissions": PERMISSIONS_OF_RUNS}),
        migrations.AlterModelOptions("backfillpass", {"verbose_name": "pass", "verbose_name_plural": "passes"}),
    ]
