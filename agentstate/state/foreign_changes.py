"""What other tools changed of the legacy home, in sentences, and the statements that undo it.

A tool that compares its own schema with the database, such as ``prisma db push``, drops what it does not know. The
clock's trigger survives that, so the legacy application keeps running. The two homes cannot be compared any more, and
a save cannot reach the columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.recorder import MigrationRecorder

from agentstate.state.columns import read_legacy_home

if TYPE_CHECKING:
    from agentstate.state.columns import LegacyHome

CLOCK_MADE_BY = ("agentstate", "0002_state_clock")


class ForeignChanges(NamedTuple):
    """The facts, one sentence each, and the SQL statements to run, in their order.

    Attributes:
        blocks_steps: columns, the clock or its trigger are missing, so that no pass, verification or step is possible.
            A trigger that exists and fires for some writers only blocks nothing.
    """

    facts: list[str]
    statements: list[str]
    blocks_steps: bool

    @property
    def way_out(self) -> str:
        """Return what to do, with the statements, one a line."""
        lines = "\n".join(f"  {statement}" for statement in self.statements)
        return (
            "Run these statements as the owner of the table, then manage.py backfill_agentkit_state "
            f"(see docs/repair.md):\n{lines}"
        )

    def __str__(self) -> str:
        return f"{' '.join(self.facts)} {self.way_out}"


def read_foreign_changes(using: str = DEFAULT_DB_ALIAS) -> ForeignChanges | None:
    """Return what other tools changed; None where that is nothing, or agentstate is not migrated."""
    home = read_legacy_home(using)
    if home.is_as_we_left_it or CLOCK_MADE_BY not in MigrationRecorder(connections[using]).applied_migrations():
        return None
    added = [f'ALTER TABLE "Project" DROP COLUMN "{column}";' for column in home.added_by_others]
    is_missing = bool(home.dropped_by_others or home.added_by_others) or not home.has_clock
    return ForeignChanges(_facts(home), home.repairs() + added, is_missing or home.clock_function is None)


def _facts(home: LegacyHome) -> list[str]:
    facts = []
    if home.dropped_by_others:
        facts.append(f'Another tool dropped {_quoted(home.dropped_by_others)} from "Project".')
    if home.added_by_others:
        facts.append(
            f'Another tool added {_quoted(home.added_by_others)} to "Project" after agentstate had dropped it.'
        )
    if not home.has_clock:
        facts.append('Another tool dropped "stateUpdatedAt" from "Project", or changed its type.')
    if home.clock_function is None:
        facts.append("Another tool dropped the trigger zz_agentstate_state_clock.")
    elif not home.clock_fires:
        facts.append("Another tool disabled the trigger zz_agentstate_state_clock, or limited it to some writers.")
    return facts


def _quoted(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
