"""Add the rows of the four gates. Until an operator changes them, state is read and written in the legacy home."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from agentstate.migrations._operations import RecordedMigration

GATES = {
    "agentkit_writes": (
        None,
        "State that the runtime saves goes into runs and events. Roll out by --percent of projects.",
    ),
    "legacy_writes": (
        True,
        (
            "State that the runtime saves goes into the legacy columns too. On for everyone at first; its percent "
            "counts from the other end, so that shares which add up to 100 leave no project without a home."
        ),
    ),
    "agentkit_reads": (
        None,
        "State is read from the AgentKit home, falling back to legacy where there is no snapshot or legacy is ahead.",
    ),
    "agentkit_shadow_reads": (
        None,
        "Both homes are read, the answer comes from where agentkit_reads says, and a difference is counted.",
    ),
}


def make_gates(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    flag = apps.get_model("agentstate", "Flag")
    for name, (everyone, note) in GATES.items():
        flag.objects.using(schema_editor.connection.alias).get_or_create(
            name=name, defaults={"everyone": everyone, "note": note}
        )


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0004_validate_foreign_keys")]
    # The rows go with their table.
    operations = [migrations.RunPython(make_gates, migrations.RunPython.noop)]
