"""Add the kept verifications, and the projects that they found unequal."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import RecordedMigration, RunLocking, dropping


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0028_incoming_files")]
    operations = [
        migrations.CreateModel(
            name="KeptVerification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("requested_by", models.TextField()),
                ("figures", models.JSONField(blank=True, default=dict)),
                (
                    "error",
                    models.TextField(blank=True, default="", help_text="Why it failed; empty if it did not."),
                ),
            ],
            options={"db_table": "AgentStateVerification", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="UnequalProject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("project_id", models.TextField()),
                (
                    "verification",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="unequal_projects",
                        to="agentstate.keptverification",
                    ),
                ),
            ],
            options={"db_table": "AgentStateUnequalProject", "default_permissions": ()},
        ),
        RunLocking(match_collation(("AgentStateUnequalProject", "project_id")), "SELECT"),
    ]
    operations = dropping(operations)
