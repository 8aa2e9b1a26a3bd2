"""Add the tokens of the HTTP API. Reversed, all tokens are lost, and new ones must be made."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, dropping


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0024_attachments")]
    operations = [
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(help_text="Who or what uses it.")),
                ("digest", models.TextField(help_text="SHA-256 of the token, in hexadecimal.")),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(
                            choices=[("read", "Read"), ("write", "Write"), ("admin", "Admin")]
                        ),
                        size=None,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "last_seen_at",
                    models.DateTimeField(blank=True, help_text="Its last use, to within ten minutes.", null=True),
                ),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "API token",
                "db_table": "AgentStateApiToken",
                "constraints": [
                    models.UniqueConstraint(fields=("digest",), name="AgentStateApiToken_digest_key"),
                    models.UniqueConstraint(
                        condition=models.Q(revoked_at=None),
                        fields=("name",),
                        name="AgentStateApiToken_name_in_use_key",
                    ),
                ],
            },
        ),
    ]
    operations = dropping(operations)
