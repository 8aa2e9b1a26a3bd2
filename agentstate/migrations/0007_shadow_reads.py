"""Add the tables of shadow reads: counts and samples of differences."""

from __future__ import annotations

from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, dropping


class Migration(RecordedMigration):
    dependencies = [
        ("agentstate", "0006_flag_history"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReadDifference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("project_id", models.TextField()),
                ("state_key", models.TextField()),
                ("path", models.TextField(help_text="The JSON path of the first difference.")),
                ("legacy", models.TextField(blank=True, null=True)),
                ("agentkit", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "AgentStateReadDifference",
            },
        ),
        migrations.CreateModel(
            name="ReadCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField(help_text="When the hour began.")),
                (
                    "finding",
                    models.TextField(
                        choices=[
                            ("compared", "compared: the clocks said in sync"),
                            ("difference", "a document differed"),
                            ("lag", "not compared: the clocks said that a home is ahead"),
                            ("fallback", "the legacy home answered for the AgentKit home"),
                        ]
                    ),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("count", models.BigIntegerField()),
            ],
            options={
                "db_table": "AgentStateReadCount",
                "constraints": [
                    models.UniqueConstraint(fields=("hour", "finding", "reason"), name="AgentStateReadCount_hour_key")
                ],
            },
        ),
    ]
    operations = dropping(operations)
