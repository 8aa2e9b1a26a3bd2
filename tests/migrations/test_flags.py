"""The rows and the history of the flags as migrations make them, and the checks between migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.migrations.databases import Database, Result

HISTORY = """
    SELECT flag, before IS NULL, after->'percent', after->'everyone', changed_by
    FROM "AgentStateFlagChange" ORDER BY id
"""
OURS = "SELECT proname FROM pg_proc WHERE proname LIKE 'agentstate%flag%' ORDER BY 1"


def check(database: Database) -> Result:
    return database.manage("check", "--database", "default", "--fail-level", "INFO")


def test_the_history_begins_with_the_present_settings(prisma: Database) -> None:
    prisma.migrate("agentstate", "0005")
    prisma.execute("""UPDATE "AgentStateFlag" SET percent = 10 WHERE name = 'agentkit_writes'""")
    assert prisma.rows(HISTORY) == []

    prisma.migrate()

    first = [
        ("agentkit_reads", True, None, None, "migration"),
        ("agentkit_shadow_reads", True, None, None, "migration"),
        ("agentkit_writes", True, 10.0, None, "migration"),
        ("legacy_writes", True, None, True, "migration"),
    ]
    assert prisma.rows(HISTORY) == first
    prisma.execute("""UPDATE "AgentStateFlag" SET percent = 20 WHERE name = 'agentkit_writes'""")
    role = prisma.value("SELECT session_user::text")
    assert prisma.rows(HISTORY) == [*first, ("agentkit_writes", False, 20.0, None, role)]


def test_the_history_continues_after_migrating_back_and_forward(adopted: Database) -> None:
    assert adopted.rows(OURS) == [("agentstate_keep_flag_changes",), ("agentstate_lock_flag",)]
    begun = adopted.rows(HISTORY)

    adopted.migrate("agentstate", "0005")
    assert adopted.rows(OURS) == []
    assert adopted.rows(HISTORY) == begun
    adopted.execute("""UPDATE "AgentStateFlag" SET percent = 20 WHERE name = 'agentkit_writes'""")
    adopted.migrate()

    assert adopted.rows(HISTORY) == [*begun, ("agentkit_writes", False, 20.0, None, "migration")]


def test_the_history_is_recorded_for_any_search_path_of_the_session(adopted: Database) -> None:
    adopted.execute(
        """
        CREATE SCHEMA elsewhere;
        SET search_path TO elsewhere;
        UPDATE public."AgentStateFlag" SET percent = 20 WHERE name = 'agentkit_writes'
        """
    )

    assert adopted.rows(HISTORY)[4][:3] == ("agentkit_writes", False, 20.0)


def test_checks_are_silent_before_the_first_migration(empty: Database, prisma: Database) -> None:
    for database in (empty, prisma):
        result = check(database)
        assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("number", ["0001", "0004", "0005"])
def test_checks_are_silent_between_migrations(prisma: Database, number: str) -> None:
    prisma.migrate("agentstate", number)

    result = check(prisma)

    assert (result.code, result.err) == (0, "")


def test_check_fails_for_a_contradiction_and_migrate_only_warns(adopted: Database) -> None:
    fine = check(adopted)
    adopted.execute("""UPDATE "AgentStateFlag" SET everyone = false WHERE name = 'legacy_writes'""")
    refused = check(adopted)
    migrated = adopted.manage("migrate", "-v0")

    assert (fine.code, fine.err) == (0, "")
    assert refused.code == 1
    assert "(agentstate.W002) agentkit_writes and legacy_writes are both off for all projects" in refused.err
    assert "HINT: Let their percents add up to 100" in refused.err
    assert migrated.code == 0
    assert "(agentstate.W002)" in migrated.err
