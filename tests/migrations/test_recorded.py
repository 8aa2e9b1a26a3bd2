"""A migration and the row that records it are one transaction: killed at any moment, ``migrate`` can be repeated."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from agentstate.migrations._operations import RecordedMigration


def test_every_migration_in_a_transaction_is_recorded_in_it() -> None:
    ours = {
        key: each for key, each in MigrationLoader(None).disk_migrations.items() if key[0].startswith("agentstate")
    }
    assert ours
    assert [key for key, each in ours.items() if each.atomic and not isinstance(each, RecordedMigration)] == []


@pytest.mark.django_db
def test_what_django_deferred_is_executed_before_a_migration_is_recorded() -> None:
    loader = MigrationLoader(connection)
    migration = loader.disk_migrations["agentstate", "0025_api_tokens"]
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        migration.apply(loader.project_state(migration.dependencies), editor, collect_sql=True)
        assert editor.deferred_sql == []
    assert any("AgentStateApiToken_name_in_use_key" in statement for statement in editor.collected_sql)
