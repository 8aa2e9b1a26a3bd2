"""Save documents into the homes whose write gates are open. The database merges them under the project's lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from agentstate import gates
from agentstate.enclosing import enclosing_event
from agentstate.models import Project
from agentstate.models.fields import new_id, possible_id
from agentstate.state.documents import ABSENT, encode
from agentstate.state.effects import REFUSED, UNUSABLE, is_written
from agentstate.state.errors import NotWritten, StateWriteDisabled, UnsuitableRun
from agentstate.state.filling import fill_columns
from agentstate.state.homes import ALL_KEYS, CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS, is_usable, next_clock
from agentstate.state.keys import STATE_KEYS
from agentstate.state.legacy_snapshot import clock_to_keep, take_in
from agentstate.state.live_events import INSERT_LIVE_EVENTS
from agentstate.state.merging import settle
from agentstate.state.missing import missing
from agentstate.state.standing import STANDING, Standing
from agentstate.state.transactions import seeing_others

_BY_ATTRIBUTE = {key.attribute: key for key in STATE_KEYS}
_BY_NAME = {key.name: key for key in STATE_KEYS}

LOCK_PROJECT = 'SELECT FROM "Project" WHERE id = %s FOR NO KEY UPDATE'
LOCK_RUN = 'SELECT project_id, status FROM "AgentWorkflowRun" WHERE id = %s FOR NO KEY UPDATE'

READ_STANDING = f"""
    SELECT {STANDING}, p.has_columns, {is_usable(CLOCK)} AND ({is_usable("newest.snapshot_at")}) IS NOT FALSE
    FROM {PROJECTS} p {NEWEST} WHERE p.id = %s"""

# A forward pass, which locks no project, may write just this snapshot at the same time.
TAKE_IN_COLUMNS = f"""
    WITH columns AS MATERIALIZED (
        SELECT project_id, clock, state, {clock_to_keep("judged.project_id", "clock", "newest_at")} AS at FROM (
            SELECT p.id AS project_id, {CLOCK} AS clock, {COLUMNS_AS_STATE} AS state, newest.snapshot_at AS newest_at
            FROM {PROJECTS} p {NEWEST} WHERE p.id = %s AND ({STANDING}) IN ('empty', 'legacy_ahead')
        ) judged
    ), {take_in("kept", "columns", may_exist=True)},
    clock AS (
        UPDATE "Project" p SET "stateUpdatedAt" = columns.at FROM columns
        WHERE p.id = columns.project_id AND columns.at <> columns.clock
        RETURNING {is_written("columns.at", "columns.state", (), untouched=ALL_KEYS)} AS is_written
    )
    SELECT EXISTS (SELECT FROM kept),
           coalesce((SELECT at = clock FROM columns), true) OR coalesce((SELECT is_written FROM clock), false)"""

INSERT_RUN = """
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, started_at, completed_at)
    VALUES (%(run)s, 'direct_write', %(project)s, 'succeeded', '{"source": "direct_write"}', %(at)s, %(at)s)"""

WRITE_SNAPSHOT = """
    UPDATE "AgentWorkflowRun" run SET snapshot_at = %(at)s,
        legacy_at = CASE WHEN %(in_sync)s THEN %(at)s ELSE newest.legacy_at END,
        result = CASE jsonb_typeof(run.result) WHEN 'object' THEN run.result ELSE '{}' END
            || jsonb_build_object('state', (newest.result -> 'state') - %(keys)s::text[] || given.state)
    FROM "AgentWorkflowRun" newest, (SELECT %(given)s::jsonb AS state OFFSET 0) given
    WHERE run.id = %(run)s AND newest.id = %(newest)s"""


def find_changes(*, to_agentkit: bool) -> str:
    """Return the query for the given keys whose documents differ from the state, and the clock value of the save."""
    return f"""
    SELECT array_agg(key), newest_run, {next_clock("clock", "newest_at", "last_event_at")} FROM (
        SELECT {CLOCK} AS clock, newest.id AS newest_run, newest.snapshot_at AS newest_at,
            {"newest.result -> 'state'" if to_agentkit else COLUMNS_AS_STATE} AS state,
            (SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s) AS last_event_at
        FROM {PROJECTS} p {NEWEST} WHERE p.id = %(project)s OFFSET 0
    ) present
    CROSS JOIN (SELECT %(given)s::jsonb AS documents OFFSET 0) given CROSS JOIN unnest(%(keys)s::text[]) key
    WHERE state -> key IS DISTINCT FROM documents -> key
    GROUP BY clock, newest_at, newest_run, last_event_at"""


def update_columns(keys: tuple[str, ...], *, in_sync: bool) -> str:
    """Return the statement that writes documents and the clock into the columns, and whether they are there then.

    Where the snapshot was written too, the other columns must be as it says.
    """
    columns = ", ".join(f"\"{_BY_NAME[key].column}\" = given.state -> '{key}'" for key in keys)
    snapshot = """(SELECT result -> 'state' FROM "AgentWorkflowRun" WHERE id = %(run)s)"""
    others = tuple(key for key in ALL_KEYS if key not in keys)
    written = (
        is_written("%(at)s", snapshot, keys, untouched=others)
        if in_sync
        else is_written("%(at)s", "given.state", keys)
    )
    return f"""
    UPDATE "Project" p SET {columns}, "stateUpdatedAt" = %(at)s
    FROM (SELECT %(given)s::jsonb AS state OFFSET 0) given WHERE p.id = %(project)s
    RETURNING {written}"""


@dataclass(frozen=True)
class Saved:
    """What a save wrote.

    Attributes:
        at: its clock value in every home that it wrote; None if nothing changed.
        changed: the Python names of the documents that changed.
        run_id: the run that recorded it; None if ``agentkit_writes`` is off or nothing changed.
    """

    at: datetime | None = None
    changed: tuple[str, ...] = ()
    run_id: str | None = None


def save(project_id: str, *, run: str | None = None, **documents: Any) -> Saved:
    """Write the given documents of a project's state, and leave the others exactly as they are.

    Runs in one transaction with the project's row locked. First brings each home whose gate is open up to the one that
    is ahead, and merges a fork by key. A clash goes to the home that ``agentkit_reads`` names; the merged run's event
    ``fork.settled`` records it. Then applies the documents. Equal documents write nothing.

    Inside the caller's transaction the save is committed or rolled back with it, and the rows of the project and the
    run stay locked to its end. To avoid deadlocks, save before you write events of the run, and save several projects
    in the order of their ids.

    Args:
        run: the id of a running run of this project that records the change; without one, a run of workflow
            ``direct_write`` is made.
        documents: by their Python names (``rfp_norm``, ``facts``, ``coverage``, ``conflict_log``, ``eligibility``).
            JSON values, numbers also as ``Decimal``; None is JSON null, ``ABSENT`` removes the document.

    Raises:
        TypeError: no document is given, or one of another name.
        UnsuitableDocument: a value is not JSON; the error has its path.
        StateWriteDisabled: both write gates are closed for the project.
        ProjectNotFound: no project has this id.
        ProjectHidden: row-level security hides it, or no project has this id.
        NotWritten: the database did not keep what was written, for example because of a trigger of ``"Project"``.
        UnsuitableRun: the run belongs to another project, or is not running.
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
        OperationalError: among others, a document is nested more deeply than the server's ``max_stack_depth`` allows:
            at least 6,000 levels by default.
    """
    given = _encode(documents)
    with seeing_others("State cannot be saved"), connection.cursor() as cursor:
        _lock(cursor, project_id, run)
        # Inside the transaction: an operator who closes a gate and waits for older transactions waits for this one.
        to_agentkit, to_legacy = _homes_to_write(project_id)
        standing, has_columns = _read_standing(cursor, project_id)
        if has_columns:
            _bring_up(cursor, project_id, standing, to_agentkit=to_agentkit, to_legacy=to_legacy)
        else:
            to_agentkit, to_legacy = to_agentkit or gates.stored_answers(project_id).agentkit_writes, False
            if not to_agentkit:
                raise StateWriteDisabled(project_id, has_columns=False)
            if standing == Standing.EMPTY:
                _take_in_columns(cursor, project_id)
        return _apply(cursor, project_id, given, run, to_agentkit=to_agentkit, to_legacy=to_legacy)


def refuse_unwritable(project_id: str) -> None:
    """Check that a project's state can be saved, before work that would be lost otherwise.

    Raises:
        ProjectNotFound: no project has this id.
        StateWriteDisabled: both write gates are closed for the project.
    """
    if Project.objects.unknown([project_id]):
        raise missing(project_id)
    _homes_to_write(project_id)


def _homes_to_write(project_id: str) -> tuple[bool, bool]:
    """Return whether to write the AgentKit home, and whether to write the legacy home.

    Flags are cached separately, so one may be stale during a switch-over. Re-read both before refusing.
    """
    to_agentkit, to_legacy = gates.agentkit_writes(project_id), gates.legacy_writes(project_id)
    if not (to_agentkit or to_legacy):
        to_agentkit, to_legacy, *_ = gates.stored_answers(project_id)
    if not (to_agentkit or to_legacy):
        raise StateWriteDisabled(project_id)
    return to_agentkit, to_legacy


def _encode(documents: dict[str, Any]) -> dict[str, str | None]:
    """Return the documents as JSON text by state key, None for ABSENT."""
    unknown = documents.keys() - _BY_ATTRIBUTE.keys()
    if unknown or not documents:
        names = ", ".join(_BY_ATTRIBUTE)
        raise TypeError(f"save() takes documents by their names, {names}; got {', '.join(sorted(unknown)) or 'none'}.")
    return {
        key.name: None if documents[key.attribute] is ABSENT else encode(documents[key.attribute], key.attribute)
        for key in STATE_KEYS
        if key.attribute in documents
    }


def _lock(cursor: CursorWrapper, project_id: str, run: str | None) -> None:
    """Lock the project, then the run. Every writer takes the locks in this order."""
    cursor.execute(LOCK_PROJECT, [possible_id(project_id)])
    if not cursor.rowcount:
        raise missing(project_id)
    if run is None:
        return
    cursor.execute(LOCK_RUN, [possible_id(run)])
    row = cursor.fetchone()
    if row is None:
        raise UnsuitableRun(run, "there is no such run")
    if row[0] != project_id:
        raise UnsuitableRun(run, f"it belongs to the project {row[0]!r}, not to {project_id!r}")
    if row[1] != "running":
        way_out = "resume it first" if row[1] == "pending" else "save in a new run"
        raise UnsuitableRun(run, f"it is {row[1]}, and only a running run takes changes; {way_out}")


def _bring_up(
    cursor: CursorWrapper, project_id: str, standing: Standing, *, to_agentkit: bool, to_legacy: bool
) -> None:
    """Bring each home that will be written up to the one that is ahead."""
    if standing == Standing.FORKED:
        preferred = "agentkit" if gates.agentkit_reads(project_id) else "legacy"
        if settle(cursor, [project_id], preferred).refused:
            raise NotWritten(project_id, REFUSED)
        standing, _ = _read_standing(cursor, project_id)
    if to_agentkit and standing in (Standing.LEGACY_AHEAD, Standing.EMPTY):
        _take_in_columns(cursor, project_id)
    if to_legacy and standing == Standing.AGENTKIT_AHEAD and fill_columns(cursor, [project_id]).refused:
        raise NotWritten(project_id, REFUSED)


def _read_standing(cursor: CursorWrapper, project_id: str) -> tuple[Standing, bool]:
    """Return the locked project's standing, and whether the columns exist. Both stay true while the lock is held."""
    cursor.execute(READ_STANDING, [project_id])
    standing, has_columns, usable = cursor.fetchone()
    if not usable:
        raise NotWritten(project_id, UNUSABLE)
    return Standing(standing), has_columns


def _take_in_columns(cursor: CursorWrapper, project_id: str) -> None:
    """Keep the columns as a legacy snapshot, at their clock or, if that is taken, at a new one in both homes."""
    cursor.execute(TAKE_IN_COLUMNS, [project_id])
    is_kept, has_clock = cursor.fetchone()
    if not has_clock:
        raise NotWritten(project_id, REFUSED)
    if not is_kept and _read_standing(cursor, project_id)[0] in (Standing.LEGACY_AHEAD, Standing.EMPTY):
        raise NotWritten(project_id, "another run has the id of the snapshot of its columns")


def _apply(
    cursor: CursorWrapper,
    project_id: str,
    given: dict[str, str | None],
    run: str | None,
    *,
    to_agentkit: bool,
    to_legacy: bool,
) -> Saved:
    """Write the documents that differ from what is there, at one clock value in all homes that are written."""
    parameters: dict[str, Any] = {"project": project_id, "run": run, **_as_parameters(given)}
    cursor.execute(find_changes(to_agentkit=to_agentkit), parameters)
    row = cursor.fetchone()
    if row is None:
        return Saved()
    keys, newest_run, at = row
    changed = {key: given[key] for key in given if key in keys}
    parameters |= {"at": at, "newest": newest_run, "in_sync": to_legacy, **_as_parameters(changed)}
    if to_agentkit:
        parameters["run"] = run or new_id()
        _write_snapshot(cursor, parameters, is_new=run is None)
    if to_legacy:
        cursor.execute(update_columns(tuple(changed), in_sync=to_agentkit), parameters)
        if cursor.fetchone() != (True,):
            raise NotWritten(project_id, REFUSED)
    names = tuple(_BY_NAME[key].attribute for key in changed)
    return Saved(at, names, parameters["run"] if to_agentkit else None)


def _as_parameters(given: dict[str, str | None]) -> dict[str, Any]:
    """Return the documents as one JSON object, and all keys: one that is not in the object is ABSENT.

    No array with NULLs: a database whose ``array_nulls`` is off reads them as text.
    """
    documents = ", ".join(f'"{key}": {document}' for key, document in given.items() if document is not None)
    return {"keys": list(given), "given": f"{{{documents}}}"}


def _write_snapshot(cursor: CursorWrapper, parameters: dict[str, Any], *, is_new: bool) -> None:
    """Write the newest snapshot's state with the changes as the run's snapshot, and the events of the save.

    Raises:
        NotWritten: the newest snapshot is gone.
    """
    if is_new:
        cursor.execute(INSERT_RUN, parameters)
    parameters |= {"parent": enclosing_event(parameters["run"])}
    for statement in (INSERT_LIVE_EVENTS, WRITE_SNAPSHOT):
        cursor.execute(statement, parameters)
        if not cursor.rowcount:
            raise NotWritten(parameters["project"], "its newest snapshot was deleted at the same time")
