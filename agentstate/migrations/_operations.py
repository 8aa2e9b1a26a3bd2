"""Migration operations that a live database does not notice."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation

from agentstate.lock_timeout import StillLocked, with_lock_timeout


class RunLocking(Operation):
    """Run SQL that locks the legacy table, waiting half a second for the lock at most, and trying again a few times.

    Each attempt is a savepoint: given up, it holds no lock, so that what queued behind it goes on.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, sql: str, reverse_sql: str) -> None:
        self.sql = sql
        self.reverse_sql = reverse_sql

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: the state operations stand beside this one."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._run(schema_editor, self.sql)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._run(schema_editor, self.reverse_sql)

    def describe(self) -> str:
        return "Run SQL that locks the legacy table for an instant"

    def _run(self, schema_editor: BaseDatabaseSchemaEditor, sql: str) -> None:
        try:
            with_lock_timeout(
                lambda: schema_editor.execute(sql, params=None),
                schema_editor.connection.alias,
                execute=schema_editor.execute,
            )
        except StillLocked as error:
            raise CommandError(
                f"{error} This migration changed nothing. End the long transaction (pg_stat_activity, pg_locks), or "
                "migrate at a quieter time: manage.py migrate goes on where it stopped."
            ) from error
