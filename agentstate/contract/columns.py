"""Dropping the legacy columns, and bringing them back with their content."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from django.core.management import CommandError
from django.db import InternalError, OperationalError, connection
from psycopg.errors import DependentObjectsStillExist

from agentstate.backfill import OtherDirectionRunning, PassOptions, run_pass
from agentstate.backfill.locks import pass_lock
from agentstate.contract.refusals import NotReady, refuse_to_bring_back, refuse_to_drop
from agentstate.models.passes import Direction
from agentstate.rollout.errors import TableLocked
from agentstate.rollout.freeze import freeze, is_frozen, thaw, with_lock_timeout
from agentstate.row_security import SHOW_EVERY_ROW
from agentstate.state.columns import CLOCK_TRIGGER, CLOCK_WITHOUT_COLUMNS, MOVES_STATE, read_legacy_home
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.keys import STATE_KEYS
from agentstate.state.standing import STANDING

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 1_000
INTERRUPTED = 130  # as shells count Ctrl-C

# The function that the trigger calls records that the contract, and no other tool, dropped the columns: see
# agentstate.state.columns.LegacyHome.
_DROP = f"""
    {CLOCK_WITHOUT_COLUMNS};
    {CLOCK_TRIGGER.format(function="agentstate_clock_without_columns")};
    ALTER TABLE "Project" {", ".join(f'DROP COLUMN "{key.column}"' for key in STATE_KEYS)}"""

_ADD = f"""
    ALTER TABLE "Project" {", ".join(f'ADD COLUMN "{key.column}" jsonb' for key in STATE_KEYS)};
    {CLOCK_TRIGGER.format(function="agentstate_state_clock")}"""

# Everybody with a snapshot who is not ahead yet. Columns that were not in sync with theirs when they went had been
# given up.
_NOT_AHEAD = f"newest.snapshot_at IS NOT NULL AND ({STANDING}) <> 'agentkit_ahead'"
_LOCK = f"""
    SELECT p.id FROM {PROJECTS} p {NEWEST}
    WHERE {_NOT_AHEAD} AND (%(after)s::text IS NULL OR p.id > %(after)s)
    ORDER BY p.id LIMIT {BATCH} FOR NO KEY UPDATE OF p"""
_MAKE_AHEAD = f"""
    WITH behind AS MATERIALIZED (
        SELECT p.id, newest.id AS run_id, newest.snapshot_at - interval '1 microsecond' AS clock
        FROM {PROJECTS} p {NEWEST} WHERE p.id = ANY (%(locked)s) AND {_NOT_AHEAD}
    ), runs AS (
        UPDATE "AgentWorkflowRun" run SET legacy_at = behind.clock FROM behind WHERE run.id = behind.run_id
    )
    UPDATE "Project" p SET "stateUpdatedAt" = behind.clock FROM behind WHERE p.id = behind.id"""


def drop() -> None:
    """Drop the five columns, where that loses nothing. Does nothing where an earlier call dropped them.

    Raises:
        NotReady: something is missing, another object of the database needs a column, or others kept the table locked;
            nothing was changed.
    """
    refuse_to_drop()
    if read_legacy_home().is_contracted:
        return
    try:
        with _stops_told():
            with_lock_timeout(_drop)
    except (InternalError, OperationalError) as error:
        if not isinstance(error.__cause__, DependentObjectsStillExist):
            raise
        # Without PostgreSQL's hint, which is to drop all of that too.
        found = error.__cause__.diag
        raise NotReady(
            f"The legacy columns stay, and nothing was changed: {found.message_primary}:\n{found.message_detail}\n"
            "Drop or change what needs them first, then run this again."
        ) from error


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute('LOCK TABLE "Project" IN ACCESS EXCLUSIVE MODE')  # before the look, which then stays true
    if not is_frozen():  # lifted since we looked
        raise NotReady("The legacy columns stay, and nothing was changed: they are not frozen any more.")
    thaw()
    with connection.cursor() as cursor:
        cursor.execute(_DROP)


def bring_back() -> None:
    """Bring the five columns back, frozen as they went, and seed them from the newest snapshots, in batches.

    Killed at any moment, it leaves everybody ``agentkit_ahead`` or seeded, and started again it goes on.

    Raises:
        NotReady: legacy_writes is on, agentkit_reads is not, a forward pass is under way, or others kept the table
            locked; the columns stay dropped.
        CommandError: some projects could not be seeded; the columns are back.
    """
    refuse_to_bring_back()
    with _stops_told(), pass_lock(Direction.REVERSE):
        if read_legacy_home().is_contracted:
            make_all_ahead()
            with_lock_timeout(_add)
        outcome = run_pass(PassOptions(direction=Direction.REVERSE))
    if outcome.left_aside:
        raise CommandError(
            f"The legacy columns are back, and {outcome.left_aside:,} project(s) could not be seeded: see "
            "manage.py agentkit_left_aside list, then run this again."
        )


@contextmanager
def _stops_told() -> Iterator[None]:
    """Let ``migrate`` say in a sentence what others keep us from.

    Raises:
        NotReady: a forward pass is under way, or others kept the table locked.
        CommandError: somebody interrupted it.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("Interrupted. Nothing is lost: run this again to go on.", returncode=INTERRUPTED) from None
    except (OtherDirectionRunning, TableLocked) as error:
        raise NotReady(str(error)) from error


def make_all_ahead() -> None:
    """Say of every project that its columns, once they are back, are older than its snapshot.

    The legacy clock is set a microsecond before the snapshot's, in both places that know it; seeding makes the three
    equal. So a project that was in sync is so again, at the one clock value that it had.
    """
    after: str | None = None
    while locked := with_lock_timeout(partial(_make_ahead, after)):
        after = locked[-1]


def _make_ahead(after: str | None) -> list[str]:
    """Say it of the next batch of projects after an id, and return their ids."""
    with connection.cursor() as cursor:
        cursor.execute(f"{SHOW_EVERY_ROW}; {MOVES_STATE}")
        cursor.execute(_LOCK, {"after": after})
        locked = [project_id for (project_id,) in cursor.fetchall()]
        # A statement of its own: the first one's view is older than its locks.
        cursor.execute(_MAKE_AHEAD, {"locked": locked})
    return locked


def _add() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_ADD)
    freeze()
