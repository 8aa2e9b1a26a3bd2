"""Each migration locks the legacy table once and for an instant; without the lock it changes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.migrations.databases import Result
from tests.migrations.live import CHANGE, READ, LegacyApplication, held
from tests.migrations.test_adoption import MIGRATIONS

if TYPE_CHECKING:
    from tests.forked import Forked
    from tests.migrations.databases import Database

# Records the locks that our migrations hold on the legacy table after each of their statements.
OBSERVER = """
CREATE TABLE observed (transaction bigint, mode text);
CREATE FUNCTION observe() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO observed SELECT DISTINCT txid_current(), mode FROM pg_locks
    WHERE pid = pg_backend_pid() AND relation = to_regclass('"Project"')
    EXCEPT SELECT transaction, mode FROM observed;
END
$$;
CREATE EVENT TRIGGER observe ON ddl_command_end EXECUTE FUNCTION observe();
"""
WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '"Project"'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def count_waits(database: Database, process: Forked, enough: int) -> int:
    """Return how often the process was seen to begin to wait for the legacy table, until its end or that is enough."""
    waits, was_waiting = 0, False
    with database.connect() as connection:
        while process.poll() is None and waits < enough:
            [waiting] = connection.execute(WAITING).fetchone()
            waits += bool(waiting) and not was_waiting
            was_waiting = bool(waiting)
            time.sleep(0.005)
    return waits


def test_the_first_migration_does_not_lock_the_legacy_table(prisma: Database) -> None:
    with held(prisma, "ACCESS EXCLUSIVE"):
        prisma.migrate("agentstate", "0001")

    assert prisma.applied() == ["0001"]


def test_each_migration_takes_the_weakest_lock_it_needs_and_takes_it_once(prisma: Database) -> None:
    prisma.execute(OBSERVER)

    prisma.migrate()

    # Reading the catalog about a table takes AccessShareLock, which blocks no reader and no writer.
    locks = prisma.rows(
        """
        SELECT array_agg(mode ORDER BY mode) FROM observed WHERE mode <> 'AccessShareLock'
        GROUP BY transaction ORDER BY transaction
        """
    )
    assert [modes for (modes,) in locks] == [
        ["AccessExclusiveLock", "ShareRowExclusiveLock"],  # the column and the trigger
        ["ShareRowExclusiveLock"],  # the foreign keys
        ["RowShareLock"],  # their validation
        ["ShareRowExclusiveLock"],  # the trigger, which now sees inserts too
        ["AccessExclusiveLock", "ShareRowExclusiveLock"],  # the foreign keys that follow a changed id
        ["RowShareLock"],  # their validation
        ["RowShareLock", "ShareRowExclusiveLock"],  # the foreign key of the documents, and its look at no row
        ["RowShareLock", "ShareRowExclusiveLock"],  # that of the attachments
    ]


def test_migrating_forward_fails_with_a_way_out_if_the_lock_is_not_released(prisma: Database) -> None:
    prisma.migrate("agentstate", "0001")

    for target, mode in (("0002", "ACCESS SHARE"), ("0003", "ROW EXCLUSIVE"), ("0004", "EXCLUSIVE")):
        assert_given_up(prisma, target, mode)
        prisma.migrate("agentstate", target)


def test_migrating_back_fails_with_a_way_out_if_the_lock_is_not_released(adopted: Database) -> None:
    adopted.migrate("agentstate", "0003")

    for target, mode in (("0002", "ACCESS SHARE"), ("0001", "ACCESS SHARE")):
        assert_given_up(adopted, target, mode)
        adopted.migrate("agentstate", target)


def test_a_table_of_ours_that_others_read_is_named_and_not_waited_for(adopted: Database) -> None:
    adopted.migrate("agentstate", "0033")

    for target, table in (("0030", "AgentWorkflowRunEvent"), ("0032", "AgentStatePass")):
        with held(adopted, "ACCESS SHARE", table):
            result = adopted.manage("migrate", "agentstate", target, impatient=True)
        assert (result.code, len(result.err.splitlines())) == (1, 1)
        assert result.err.startswith(f'CommandError: "{table}" stayed locked by others through 3 attempts of 150ms.')
        adopted.migrate("agentstate", target)


def assert_given_up(database: Database, target: str, mode: str) -> None:
    """Check that a migration that never gets the lock retries, says what to do, and changes nothing."""
    columns = database.columns()
    schema, content = database.schema(), database.content(columns)

    with held(database, mode):
        result = database.manage("migrate", "agentstate", target, impatient=True)

    assert result.code == 1
    [error] = result.err.splitlines()
    assert error.startswith('CommandError: "Project" stayed locked by others through 3 attempts of 150ms.')
    assert "pg_stat_activity" in error
    assert "manage.py migrate" in error
    assert result.out.splitlines()[-1] == "2 pauses"
    assert (database.schema(), database.content(columns)) == (schema, content)


def test_waiting_for_a_lock_does_not_block_the_legacy_application_for_long(prisma: Database) -> None:
    with LegacyApplication(prisma, READ) as reader:
        with held(prisma, "ACCESS SHARE"), LegacyApplication(prisma, CHANGE, READ) as writer:
            process = prisma.start("migrate", "-v0")
            waits = count_waits(prisma, process, enough=2)
            while process.poll() is None and min(writer.rounds, reader.rounds) <= 10:
                time.sleep(0.005)
            rounds = writer.rounds, reader.rounds
        result = Result.of(process)

    assert (result.code, result.err) == (0, "")
    assert prisma.applied() == MIGRATIONS
    assert (writer.error, reader.error) == (None, None)
    assert waits == 2
    assert min(rounds) > 10
    # A migration waits half a second at a time, and others wait behind it no longer than that.
    assert max(writer.longest, reader.longest) < 30
