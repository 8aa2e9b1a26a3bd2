"""Add the permissions to act on runs and on the rollout, and the requests of steps."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, dropping


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0029_run_questions")]
    operations = [
        migrations.AlterModelOptions(
            "agentworkflowrun",
            {
                "permissions": [
                    ("decide_approvals", "Can approve or reject calls that wait for approval"),
                    ("cancel_runs", "Can cancel pending and running runs"),
                    ("close_stale_runs", "Can close runs whose process died"),
                ]
            },
        ),
        migrations.AlterModelOptions(
            "rolloutstep",
            {
                "permissions": [
                    ("advance_rollout", "Can take the rollout one step up if all conditions are met"),
                    ("override_rollout", "Can take the rollout one step up although conditions are not met"),
                    ("retreat_rollout", "Can take the rollout one step down"),
                ]
            },
        ),
        migrations.CreateModel(
            name="StepRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("action", models.TextField(choices=[("advance", "Advance"), ("retreat", "Retreat")])),
                ("stage", models.TextField(help_text="The stage that the operator saw.")),
                (
                    "percent",
                    models.DecimalField(decimal_places=1, help_text="The share that the operator saw.", max_digits=4),
                ),
                (
                    "to_percent",
                    models.DecimalField(decimal_places=1, help_text="The share requested.", max_digits=4, null=True),
                ),
                (
                    "overrides",
                    models.BooleanField(
                        default=False, help_text="Whether the step may be taken with conditions not met."
                    ),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("requested_by", models.TextField()),
                ("requested_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.TextField(
                        choices=[
                            ("running", "Running"),
                            ("taken", "Taken"),
                            ("refused", "Refused"),
                            ("interrupted", "Interrupted"),
                            ("failed", "Failed"),
                            ("killed", "Killed"),
                        ],
                        default="running",
                    ),
                ),
                (
                    "message",
                    models.TextField(blank=True, default="", help_text="What it does now, or why it ended as it did."),
                ),
                (
                    "step",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="agentstate.rolloutstep",
                    ),
                ),
            ],
            options={
                "verbose_name": "rollout request",
                "db_table": "AgentStateStepRequest",
                "default_permissions": ("view",),
            },
        ),
    ]
    operations = dropping(operations)
