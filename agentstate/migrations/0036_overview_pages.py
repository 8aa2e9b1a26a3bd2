"""Add the proxy models of the pages of usage and of storage, which have no tables of their own."""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration


def proxy(name: str) -> migrations.CreateModel:
    return migrations.CreateModel(
        name=name.capitalize(),
        fields=[],
        options={
            "verbose_name": name,
            "verbose_name_plural": name,
            "proxy": True,
            "default_permissions": (),
            "indexes": [],
            "constraints": [],
        },
        bases=("agentstate.agentworkflowrun",),
    )


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0030_event_parents")]
    operations = [proxy("usage"), proxy("storage")]
