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

# Projects with a snapshot that are not agentkit_ahead yet. Those that were not in sync at the drop had been accepted.
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
    """Drop the five columns, if that loses nothing. Does nothing if an earlier call dropped them.

    Raises:
        NotReady: a condition is not met, another object of the database needs a column, or another transaction kept
            the table locked; nothing was changed.
    """
    refuse_to_drop()
    if read_legacy_home().is_contracted:
        return
    try:
        with _as_command_errors():
            with_lock_timeout(_drop)
    except (InternalError, OperationalError) as error:
        if not isinstance(error.__cause__, DependentObjectsStillExist):
            raise
        # Without PostgreSQL's hint, which is DROP … CASCADE.
        diagnostics = error.__cause__.diag
        raise NotReady(
            f"The legacy columns stay, and nothing was changed: {diagnostics.message_primary}:\n"
            f"{diagnostics.message_detail}\nDrop or change these objects first, then run this again."
        ) from error


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute('LOCK TABLE "Project" IN ACCESS EXCLUSIVE MODE')  # keeps the check below valid
    if not is_frozen():  # lifted after the checks
        raise NotReady("The legacy columns stay, and nothing was changed: they are no longer frozen.")
    thaw()
    with connection.cursor() as cursor:
        cursor.execute(_DROP)


def bring_back() -> None:
    """Add the five columns again, frozen, and fill them from the newest snapshots, in batches.

    Can be killed at any moment: each project is then ``agentkit_ahead`` or filled, and a second call resumes.

    Raises:
        NotReady: legacy_writes is on, agentkit_reads is not, a forward pass is running, or another transaction kept
            the table locked; the columns stay dropped.
        CommandError: some projects could not be filled; the columns are back.
    """
    refuse_to_bring_back()
    with _as_command_errors(), pass_lock(Direction.REVERSE):
        if read_legacy_home().is_contracted:
            make_all_ahead()
            with_lock_timeout(_add)
        outcome = run_pass(PassOptions(direction=Direction.REVERSE))
    if outcome.left_aside:
        raise CommandError(
            f"The legacy columns are back, but {outcome.left_aside:,} project(s) could not be filled. Run manage.py "
            "agentkit_left_aside list for the errors, then run this again."
        )


@contextmanager
def _as_command_errors() -> Iterator[None]:
    """Turn errors that an operator can resolve into errors that ``migrate`` prints without a traceback.

    Raises:
        NotReady: a forward pass is running, or another transaction kept the table locked.
        CommandError: the operator interrupted it.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted. Nothing is lost. Run this again to continue.", returncode=INTERRUPTED
        ) from None
    except (OtherDirectionRunning, TableLocked) as error:
        raise NotReady(str(error)) from error


def make_all_ahead() -> None:
    """Make every project with a snapshot ``agentkit_ahead``, for the reverse pass to fill its columns.

    Sets the legacy clock a microsecond before the snapshot's, in the row and in the run. Filling the columns makes the
    three clocks equal again. So a project that was in sync gets back the same clock.
    """
    after: str | None = None
    while locked := with_lock_timeout(partial(_make_ahead, after)):
        after = locked[-1]


def _make_ahead(after: str | None) -> list[str]:
    """Change the next batch of projects after an id, and return their ids."""
    with connection.cursor() as cursor:
        cursor.execute(f"{SHOW_EVERY_ROW}; {MOVES_STATE}")
        cursor.execute(_LOCK, {"after": after})
        locked = [project_id for (project_id,) in cursor.fetchall()]
        # A second statement: the snapshot of the first one is older than its locks.
        cursor.execute(_MAKE_AHEAD, {"locked": locked})
    return locked


def _add() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_ADD)
    freeze()
