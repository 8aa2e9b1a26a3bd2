"""Migration operations for a live database, and for one that other tools have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import CommandError
from django.db import ProgrammingError, migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from psycopg.errors import UndefinedColumn, UndefinedObject, UndefinedTable

from agentstate.lock_timeout import StillLocked, with_lock_timeout
from agentstate.row_security import SHOW_EVERY_ROW

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_user_column(sql: str) -> str:
    """Return the SQL with the column of ``"AgentStateFlag_users"`` that Django names after the host's user model."""
    model = settings.AUTH_USER_MODEL.rpartition(".")[2].lower()
    return sql.replace("user_id", f"{model}_id")


class RecordedMigration(migrations.Migration):
    """A migration that the server commits together with the row that records it.

    Django executes what it deferred, such as the indexes of a new table, at the end of the transaction, and records
    the migration in another one. Killed in between, ``migrate`` would fail from then on: the table exists.
    """

    def apply(self, project_state: Any, schema_editor: Any, collect_sql: bool = False) -> Any:
        state = super().apply(project_state, schema_editor, collect_sql)
        for statement in schema_editor.deferred_sql:
            schema_editor.execute(statement, None)
        schema_editor.deferred_sql.clear()
        return state


class RunLocking(Operation):
    """Run SQL that locks a table, waiting half a second for the lock at most, and trying again a few times.

    Each attempt is a savepoint. Rolled back, it holds no lock, and the statements that queued behind it proceed.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, sql: str, reverse_sql: str, table: str = "Project") -> None:
        self.sql = sql
        self.reverse_sql = reverse_sql
        self.table = table

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: the state operations are listed beside this one."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._run(schema_editor, self.sql)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._run(schema_editor, self.reverse_sql)

    def describe(self) -> str:
        return f"Run SQL that locks {self.table} for an instant"

    def _run(self, schema_editor: BaseDatabaseSchemaEditor, sql: str) -> None:
        try:
            with_lock_timeout(
                lambda: schema_editor.execute(f"{SHOW_EVERY_ROW};\n{sql}", params=None),
                schema_editor.connection.alias,
                execute=schema_editor.execute,
                table=self.table,
            )
        except StillLocked as error:
            raise CommandError(
                f"{error} This migration changed nothing. End the long transaction (pg_stat_activity, pg_locks), or "
                "migrate at a quieter time: manage.py migrate continues where it stopped."
            ) from error


class AddIndex(migrations.AddIndex):
    """Make an index without blocking writers. An unfinished one of an earlier attempt is dropped first."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        make_index(schema_editor, to_state.apps.get_model(app_label, self.model_name), self.index)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        drop_index(schema_editor, self.index.name)


class RemoveIndex(migrations.RemoveIndex):
    """Drop an index without blocking writers."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        drop_index(schema_editor, str(self.name))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        try:
            make_index(schema_editor, to_state.apps.get_model(app_label, self.model_name), index)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):  # which another tool dropped
                raise


def make_index(schema_editor: Any, model: Any, index: models.Index) -> None:
    drop_index(schema_editor, index.name)
    schema_editor.add_index(model, index, concurrently=True)


def drop_index(schema_editor: Any, name: str) -> None:
    schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"', params=None)


def dropping(operations: Sequence[Operation]) -> list[Operation]:
    """Let the reversals of Django's operations on tables skip what another tool has dropped already."""
    kinds = (migrations.CreateModel, migrations.AddField, migrations.AddConstraint)
    return [_Dropping(operation) if isinstance(operation, kinds) else operation for operation in operations]


class _Dropping(migrations.SeparateDatabaseAndState):
    """One of Django's operations, whose reversal skips what is gone."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(database_operations=[operation], state_operations=[operation])

    def describe(self) -> str:
        return str(self.database_operations[0].describe())

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        try:
            with transaction.atomic(schema_editor.connection.alias):
                super().database_backwards(app_label, schema_editor, from_state, to_state)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn | UndefinedObject):
                raise
