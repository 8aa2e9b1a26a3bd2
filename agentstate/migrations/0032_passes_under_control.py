"""Let operators ask things of running passes, and let several workers share one."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, RunLocking, dropping

TABLE = "AgentStatePass"
# First, in both directions: else running passes and the admin wait behind an ALTER TABLE that waits.
LOCK = f'LOCK TABLE "{TABLE}" IN ACCESS EXCLUSIVE MODE'
LOCK_IF_THERE = f"""
DO $$ BEGIN
    IF to_regclass('"{TABLE}"') IS NOT NULL THEN {LOCK}; END IF;
END $$;
"""
RENAMED = """UPDATE "AgentStatePass" SET outcome = 'lost' WHERE outcome = 'killed';"""
# Another tool may have dropped the table.
FORMER = """
DO $$ BEGIN
    IF to_regclass('"AgentStatePass"') IS NOT NULL THEN
        UPDATE "AgentStatePass" SET outcome = CASE outcome WHEN 'lost' THEN 'killed' ELSE 'interrupted' END
        WHERE outcome IN ('lost', 'canceled');
    END IF;
END $$;
"""


class Migration(RecordedMigration):
    dependencies = [
        ("agentstate", "0036_overview_pages"),
    ]

    operations = [
        RunLocking(LOCK, "SELECT", TABLE),
        migrations.RunSQL(RENAMED, FORMER),
        migrations.AddField(
            model_name="backfillpass",
            name="expected",
            field=models.JSONField(blank=True, help_text="What it expected before it began.", null=True),
        ),
        migrations.AddField(
            model_name="backfillpass",
            name="held",
            field=models.TextField(blank=True, db_default="", help_text="Why it waits now; empty while it works."),
        ),
        migrations.AddField(
            model_name="backfillpass",
            name="requests",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                help_text="All that operators asked of it, the oldest first: what, by whom, when.",
            ),
        ),
        migrations.AddField(
            model_name="backfillpass",
            name="throttled_seconds",
            field=models.FloatField(db_default=0.0, help_text="How long it waited for others."),
        ),
        migrations.AddField(
            model_name="backfillpass",
            name="wanted",
            field=models.TextField(
                blank=True,
                choices=[("pause", "Pause"), ("cancel", "Cancel")],
                db_default="",
                help_text="What an operator asked for.",
            ),
        ),
        migrations.AlterField(
            model_name="backfillpass",
            name="outcome",
            field=models.TextField(
                choices=[
                    ("running", "Running"),
                    ("finished", "Finished"),
                    ("interrupted", "Interrupted"),
                    ("canceled", "Canceled"),
                    ("failed", "Failed"),
                    ("lost", "Lost"),
                ],
                default="running",
            ),
        ),
        migrations.AlterField(
            model_name="backfillpass",
            name="seen_at",
            field=models.DateTimeField(help_text="When the pass last reported that it is alive."),
        ),
        migrations.CreateModel(
            name="PassRange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.IntegerField()),
                ("above", models.TextField(null=True)),
                ("up_to", models.TextField()),
                (
                    "status",
                    models.TextField(
                        choices=[("waiting", "Waiting"), ("running", "Running"), ("done", "Done")], default="waiting"
                    ),
                ),
                ("worker", models.TextField(blank=True, default="", help_text="Host and process that took it last.")),
                ("attempts", models.IntegerField(default=0)),
                ("written", models.BigIntegerField(default=0)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("seen_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("error", models.TextField(blank=True, default="")),
                (
                    "entry",
                    models.ForeignKey(
                        db_index=False,
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ranges",
                        to="agentstate.backfillpass",
                    ),
                ),
            ],
            options={
                "db_table": "AgentStatePassRange",
                "constraints": [
                    models.UniqueConstraint(fields=("entry", "number"), name="AgentStatePassRange_number_key")
                ],
            },
        ),
        RunLocking("SELECT", LOCK_IF_THERE, TABLE),
    ]
    operations = dropping(operations)
