"""Row-level security: read every row, or fail.

A policy hides rows without an error, and a pass or a check that reads no row takes the table for empty. With
``row_security = off`` PostgreSQL refuses such a statement instead. The setting changes nothing for a role that no
policy applies to. It is always local to a transaction, since a pooled connection would carry it into others' sessions.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from psycopg.errors import InsufficientPrivilege

if TYPE_CHECKING:
    from collections.abc import Iterator

# For a transaction that begins with other SET LOCAL statements.
SHOW_EVERY_ROW = "SET LOCAL row_security = off"

# The tables that hold state, history and transcripts: a hidden row of any of them would be taken for none.
TABLES = ("Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession", "AgentSessionEntry")


class HidingTable(NamedTuple):
    """A table with policies that apply to the connection's role."""

    name: str
    role: str
    policies: tuple[str, ...]
    is_forced_on_owner: bool  # the role owns the table, and only FORCE ROW LEVEL SECURITY makes policies apply to it

    @property
    def fact(self) -> str:
        """Return what hides rows from whom."""
        policies = ", ".join(self.policies) or "none, which hides every row"
        return f'Row-level security of "{self.name}" applies to the role {self.role} (policies: {policies}).'

    @property
    def way_out(self) -> str:
        """Return what the operator can do."""
        if self.is_forced_on_owner:
            return f'Run ALTER TABLE "{self.name}" NO FORCE ROW LEVEL SECURITY, or connect as a role with BYPASSRLS.'
        return f'Connect as the owner of "{self.name}" or as a role with BYPASSRLS.'


class RowsHidden(Exception):
    """Row-level security would have hidden rows. Nothing was changed by the statement that was refused."""

    def __init__(self, tables: list[HidingTable]) -> None:
        super().__init__(" ".join(f"{table.fact} {table.way_out}" for table in tables))
        self.tables = tables


@contextmanager
def every_row(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Open a transaction or savepoint in which no policy hides a row.

    Raises:
        RowsHidden: a policy applies to a table that a statement of the block named.
    """
    connection = connections[using]
    is_nested = connection.in_atomic_block
    try:
        with transaction.atomic(using), connection.cursor() as cursor:
            before = "off"
            if is_nested:
                cursor.execute("SELECT current_setting('row_security')")
                (before,) = cursor.fetchone()
            cursor.execute(SHOW_EVERY_ROW)
            yield
            if before != "off":
                # A transaction around this one goes on with its own setting.
                cursor.execute("SET LOCAL row_security = on")
    except DatabaseError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            refuse_hidden_rows(using, because=error)
        raise


def refuse_hidden_rows(using: str = DEFAULT_DB_ALIAS, because: Exception | None = None) -> None:
    """Check that no policy applies to the connection's role.

    Raises:
        RowsHidden: naming tables, policies and the way out.
    """
    if tables := tables_that_hide(using):
        raise RowsHidden(tables) from because


def tables_that_hide(using: str = DEFAULT_DB_ALIAS, tables: tuple[str, ...] = TABLES) -> list[HidingTable]:
    """Return those of our tables, and ``"Project"``, whose policies apply to the connection's role."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            """
            SELECT relname, current_user::text,
                   ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = pg_class.oid ORDER BY polname),
                   relforcerowsecurity AND pg_has_role(relowner, 'USAGE')
            FROM unnest(%s::text[]) WITH ORDINALITY named (name, place)
            JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(name))
            WHERE row_security_active(pg_class.oid) ORDER BY place
            """,
            [list(tables)],
        )
        return [
            HidingTable(name, role, tuple(policies), is_forced)
            for name, role, policies, is_forced in cursor.fetchall()
        ]
