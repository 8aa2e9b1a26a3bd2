"""Add the permission to approve or reject calls. Nothing in the schema changes; post_migrate makes the permission."""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0022_transcripts")]
    operations = [
        migrations.AlterModelOptions(
            "agentworkflowrun",
            {"permissions": [("decide_approvals", "Can approve or reject calls that wait for approval")]},
        ),
    ]
