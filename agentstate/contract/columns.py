"""Dropping the legacy columns, and bringing them back with their content."""

from __future__ import annotations

from django.core.management import CommandError
from django.db import InternalError, OperationalError, connection, transaction
from psycopg.errors import DependentObjectsStillExist

from agentstate.backfill import PassOptions, run_pass
from agentstate.contract.refusals import NotReady, refuse_to_bring_back, refuse_to_drop
from agentstate.models.passes import Direction
from agentstate.rollout.freeze import freeze, is_frozen, thaw, with_short_lock
from agentstate.state.columns import MOVES_STATE, legacy_columns_are_there
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.keys import STATE_KEYS
from agentstate.state.standing import STANDING

BATCH = 1_000

_TRIGGER = """
    CREATE OR REPLACE TRIGGER zz_agentstate_state_clock BEFORE UPDATE ON "Project"
        FOR EACH ROW EXECUTE FUNCTION {function}();
    ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock"""

# A trigger that names a dropped column fails on every update of the table. Without columns the clock stands still,
# whoever writes a row back, until they come back.
_DROP = f"""
    CREATE OR REPLACE FUNCTION agentstate_clock_without_columns() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('agentstate.moves_state', true) IS DISTINCT FROM 'on' THEN
            NEW."stateUpdatedAt" := OLD."stateUpdatedAt";
        END IF;
        RETURN NEW;
    END
    $$;
    {_TRIGGER.format(function="agentstate_clock_without_columns")};
    ALTER TABLE "Project" {", ".join(f'DROP COLUMN "{key.column}"' for key in STATE_KEYS)}"""

_ADD = f"""
    ALTER TABLE "Project" {", ".join(f'ADD COLUMN "{key.column}" jsonb' for key in STATE_KEYS)};
    {_TRIGGER.format(function="agentstate_state_clock")};
    DROP FUNCTION agentstate_clock_without_columns()"""

_IN_SYNC = f"""
    SELECT p.id FROM {PROJECTS} p {NEWEST}
    WHERE ({STANDING}) = 'in_sync' AND p.id > %(after)s ORDER BY p.id LIMIT {BATCH} FOR NO KEY UPDATE OF p"""
_MAKE_AHEAD = f"""
    WITH in_sync AS MATERIALIZED (
        SELECT p.id, newest.id AS run_id, newest.snapshot_at - interval '1 microsecond' AS clock
        FROM {PROJECTS} p {NEWEST} WHERE p.id = ANY (%(locked)s) AND ({STANDING}) = 'in_sync'
    ), runs AS (
        UPDATE "AgentWorkflowRun" run SET legacy_at = in_sync.clock FROM in_sync WHERE run.id = in_sync.run_id
    )
    UPDATE "Project" p SET "stateUpdatedAt" = in_sync.clock FROM in_sync WHERE p.id = in_sync.id"""


def drop() -> None:
    """Drop the five columns, where that loses nothing. Nothing is done where they have been dropped already.

    Raises:
        NotReady: something is missing, or another object of the database needs a column; nothing was changed.
    """
    refuse_to_drop()
    if not legacy_columns_are_there():
        return
    try:
        with_short_lock(_drop)
    except (InternalError, OperationalError) as error:
        if not isinstance(error.__cause__, DependentObjectsStillExist):
            raise
        raise NotReady(
            f"The legacy columns stay, and nothing was changed: {str(error).strip()}\nDrop or change what needs them "
            "first."
        ) from error


def _drop() -> None:
    if not is_frozen():  # lifted since we looked
        raise NotReady("The legacy columns stay, and nothing was changed: they are not frozen any more.")
    thaw()
    with connection.cursor() as cursor:
        cursor.execute(_DROP)


def bring_back() -> None:
    """Bring the five columns back, frozen as they went, and seed them from the newest snapshots, in batches.

    Killed at any moment, it leaves everybody ``agentkit_ahead`` or seeded, and started again it goes on.

    Raises:
        NotReady: legacy_writes is on; nothing was changed.
        CommandError: some projects could not be seeded; the columns are back.
    """
    refuse_to_bring_back()
    if not legacy_columns_are_there():
        make_all_ahead()
        with_short_lock(_add)
    outcome = run_pass(PassOptions(direction=Direction.REVERSE))
    if outcome.left_aside:
        raise CommandError(
            f"The legacy columns are back, and {outcome.left_aside:,} project(s) could not be seeded: see "
            "manage.py agentkit_left_aside list, then run this again."
        )


def make_all_ahead() -> None:
    """Say of every project that its columns, once they are back, are older than its snapshot.

    A project that was in sync stood at one clock value in both homes. Its legacy clock goes back by a microsecond, in
    both places that know it; seeding makes the three equal again, at the value that they had.
    """
    after = ""
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {MOVES_STATE}")
            cursor.execute(_IN_SYNC, {"after": after})
            locked = [project_id for (project_id,) in cursor.fetchall()]
            if not locked:
                return
            # A statement of its own: the first one's view is older than its locks.
            cursor.execute(_MAKE_AHEAD, {"locked": locked})
            after = locked[-1]


def _add() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_ADD)
    freeze()
