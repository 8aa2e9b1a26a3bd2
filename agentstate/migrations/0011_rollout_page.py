"""Add the proxy model of the rollout's page, which has no table of its own."""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0010_rollout_steps")]
    operations = [
        migrations.CreateModel(
            name="Rollout",
            fields=[],
            options={
                "verbose_name": "rollout",
                "verbose_name_plural": "rollout",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("agentstate.rolloutstep",),
        ),
    ]
