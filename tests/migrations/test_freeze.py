"""Reversing the migration of the rollout's steps lifts a freeze."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.migrations.databases import Database

TRIGGERS = (
    """SELECT tgname FROM pg_trigger WHERE tgrelid = '"Project"'::regclass AND tgname LIKE 'agentstate_freeze%'"""
)


def test_reversing_the_steps_lifts_the_freeze(adopted: Database) -> None:
    result = adopted.manage("shell", "-v0", "-c", "from agentstate.rollout.freeze import freeze; freeze()")
    assert (result.code, result.err) == (0, "")
    assert sorted(adopted.rows(TRIGGERS)) == [("agentstate_freeze",), ("agentstate_freeze_insert",)]

    adopted.migrate("agentstate", "0009")

    assert adopted.rows(TRIGGERS) == []
    adopted.execute("""UPDATE "Project" SET "factsJson" = '1' WHERE id = 'nothing'""")
