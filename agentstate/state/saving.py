"""Saving: documents into the homes whose write gates are open, merged by the database under the project's lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from agentstate import gates
from agentstate.models.fields import new_id, possible_id
from agentstate.state.documents import ABSENT, encode
from agentstate.state.errors import ProjectNotFound, StateWriteDisabled, UnsuitableRun
from agentstate.state.filling import fill_columns
from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS, next_clock
from agentstate.state.keys import STATE_KEYS
from agentstate.state.legacy_snapshot import free_clock, take_in
from agentstate.state.live_events import insert_live_events
from agentstate.state.merging import settle
from agentstate.state.standing import STANDING, Standing
from agentstate.state.transactions import seeing_others

_BY_ATTRIBUTE = {key.attribute: key for key in STATE_KEYS}
_BY_NAME = {key.name: key for key in STATE_KEYS}


@dataclass(frozen=True)
class Saved:
    """What a save wrote.

    Attributes:
        at: its clock value in every home that it wrote; None where the documents were there already.
        changed: the Python names of the documents that changed.
        run_id: the run that recorded it; None where ``agentkit_writes`` is off or nothing changed.
    """

    at: datetime | None = None
    changed: tuple[str, ...] = ()
    run_id: str | None = None


def save(project_id: str, *, run: str | None = None, **documents: Any) -> Saved:
    """Write the given documents of a project's state, and leave the others exactly as they are.

    In one transaction, with the project's row locked: each home whose gate is open is first brought up to the one that
    is ahead, a fork is merged by key (clashes go to the home that ``agentkit_reads`` names, which the run's
    ``fork.settled`` tells), then the documents are applied. Documents that are equal to what is there write nothing.

    Inside the caller's transaction the save shares its fate, and the project's row and then the run's stay locked to
    its end. So that no two wait for one another, save there before you write events of the run, and several projects
    in the order of their ids.

    Args:
        run: the id of a running run of this project that records the change; without one, a run of workflow
            ``direct_write`` is made.
        documents: by their Python names (``rfp_norm``, ``facts``, ``coverage``, ``conflict_log``, ``eligibility``):
            JSON values, ``Decimal`` among them; None is JSON null, ``ABSENT`` takes the document away.

    Raises:
        TypeError: a name is no document's, or none is given.
        UnsuitableDocument: a value is not JSON; the error has its path.
        StateWriteDisabled: both write gates are closed for the project.
        ProjectNotFound: no project has this id.
        UnsuitableRun: the run is another project's, or not running.
        UnsuitableTransaction: the transaction around it is repeatable-read or serializable.
        OperationalError: among others, a document is nested more deeply than the server's ``max_stack_depth`` lets it
            be, more than ten thousand levels as that is by default.
    """
    given = _encode(documents)
    with seeing_others("State cannot be saved"), connection.cursor() as cursor:
        _lock(cursor, project_id, run)
        # Asked within the transaction: who closes a gate and waits for older transactions has waited for this one.
        to_agentkit, to_legacy = _homes_to_write(project_id)
        standing, has_columns = _look(cursor, project_id)
        if has_columns:
            _bring_up(cursor, project_id, standing, to_agentkit=to_agentkit, to_legacy=to_legacy)
        else:
            to_agentkit, to_legacy = to_agentkit or gates.stored_answers(project_id).agentkit_writes, False
            if not to_agentkit:
                raise StateWriteDisabled(project_id, has_columns=False)
            if standing == Standing.EMPTY:
                _take_in_columns(cursor, project_id)
        return _apply(cursor, project_id, given, run, to_agentkit=to_agentkit, to_legacy=to_legacy)


def _homes_to_write(project_id: str) -> tuple[bool, bool]:
    """Return whether the AgentKit home is written, and whether the legacy home is.

    This process remembers each flag by itself: after a switch from one home to the other it may still have one flag as
    it was and the other as it is. So nobody is refused without a look at the flags themselves.
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
        raise TypeError(f"save() takes documents by their names, {names}; not {', '.join(sorted(unknown)) or 'none'}.")
    return {
        key.name: None if documents[key.attribute] is ABSENT else encode(documents[key.attribute], key.attribute)
        for key in STATE_KEYS
        if key.attribute in documents
    }


def _lock(cursor: CursorWrapper, project_id: str, run: str | None) -> None:
    """Lock the project, then the run: everybody does it in this order."""
    cursor.execute('SELECT FROM "Project" WHERE id = %s FOR NO KEY UPDATE', [possible_id(project_id)])
    if not cursor.rowcount:
        raise ProjectNotFound(project_id)
    if run is None:
        return
    cursor.execute(
        'SELECT project_id, status FROM "AgentWorkflowRun" WHERE id = %s FOR NO KEY UPDATE',
        [possible_id(run)],
    )
    found = cursor.fetchone()
    if found is None:
        raise UnsuitableRun(run, "there is no such run")
    if found[0] != project_id:
        raise UnsuitableRun(run, f"it belongs to the project {found[0]!r}, not to {project_id!r}")
    if found[1] != "running":
        way_out = "resume it first" if found[1] == "pending" else "save in a new run"
        raise UnsuitableRun(run, f"it is {found[1]}, and only a running one takes changes; {way_out}")


def _bring_up(
    cursor: CursorWrapper, project_id: str, standing: Standing, *, to_agentkit: bool, to_legacy: bool
) -> None:
    """Bring each home that will be written up to the one that is ahead."""
    if standing == Standing.FORKED:
        settle(cursor, [project_id], "agentkit" if gates.agentkit_reads(project_id) else "legacy")
        standing, _ = _look(cursor, project_id)
    if to_agentkit and standing in (Standing.LEGACY_AHEAD, Standing.EMPTY):
        _take_in_columns(cursor, project_id)
    if to_legacy and standing == Standing.AGENTKIT_AHEAD:
        fill_columns(cursor, [project_id])


def _look(cursor: CursorWrapper, project_id: str) -> tuple[Standing, bool]:
    """Return where the locked project stands, and whether the columns are there: they are, or not, until the end."""
    cursor.execute(f"SELECT {STANDING}, p.has_columns FROM {PROJECTS} p {NEWEST} WHERE p.id = %s", [project_id])
    standing, has_columns = cursor.fetchone()
    return Standing(standing), has_columns


def _take_in_columns(cursor: CursorWrapper, project_id: str) -> None:
    """Keep the columns as a legacy snapshot, at their clock or, where that is taken, at a new one in both homes.

    A forward pass, which locks no project, may write just that snapshot meanwhile: then it is left at that.
    """
    cursor.execute(
        f"""
        WITH columns AS MATERIALIZED (
            SELECT project_id, clock, state, {free_clock("looked_at.project_id", "clock", "newest_at")} AS at FROM (
                SELECT p.id AS project_id, {CLOCK} AS clock, {COLUMNS_AS_STATE} AS state,
                       coalesce(newest.snapshot_at, '-infinity') AS newest_at
                FROM {PROJECTS} p {NEWEST} WHERE p.id = %s AND ({STANDING}) IN ('empty', 'legacy_ahead')
            ) looked_at
        ), {take_in("kept", "columns", on_conflict="ON CONFLICT DO NOTHING")}
        UPDATE "Project" p SET "stateUpdatedAt" = columns.at FROM columns
        WHERE p.id = columns.project_id AND columns.at <> columns.clock
        """,
        [project_id],
    )


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
    cursor.execute(
        f"""
        SELECT array_agg(key), clock, newest_at, newest_run, {next_clock("clock", "newest_at", "last_event_at")} FROM (
            SELECT {CLOCK} AS clock, newest.id AS newest_run, newest.snapshot_at AS newest_at,
                {"newest.result -> 'state'" if to_agentkit else COLUMNS_AS_STATE} AS state,
                (SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s) AS last_event_at
            FROM {PROJECTS} p {NEWEST} WHERE p.id = %(project)s OFFSET 0
        ) present
        CROSS JOIN unnest(%(keys)s::text[], %(documents)s::jsonb[]) given (key, document)
        WHERE state -> key IS DISTINCT FROM document
        GROUP BY clock, newest_at, newest_run, last_event_at
        """,
        {"project": project_id, "run": run, "keys": list(given), "documents": list(given.values())},
    )
    found = cursor.fetchone()
    if found is None:
        return Saved()
    keys, _, _, newest_run, at = found
    changed = {key: given[key] for key in given if key in keys}
    if to_agentkit:
        run = _write_snapshot(cursor, project_id, newest_run, changed, run, at, in_sync=to_legacy)
    if to_legacy:
        columns = ", ".join(f'"{_BY_NAME[key].column}" = %s::jsonb' for key in changed)
        cursor.execute(
            f'UPDATE "Project" SET {columns}, "stateUpdatedAt" = %s WHERE id = %s', [*changed.values(), at, project_id]
        )
    return Saved(at, tuple(_BY_NAME[key].attribute for key in changed), run if to_agentkit else None)


def _write_snapshot(
    cursor: CursorWrapper,
    project_id: str,
    newest_run: str,
    changed: dict[str, str | None],
    run: str | None,
    at: datetime,
    *,
    in_sync: bool,
) -> str:
    """Write the newest snapshot's state with these changes as the run's snapshot, and the events that tell of it."""
    run_id = run or new_id()
    parameters: dict[str, Any] = {
        "project": project_id,
        "run": run_id,
        "newest": newest_run,
        "at": at,
        "in_sync": in_sync,
        "keys": list(changed),
        "documents": list(changed.values()),
    }
    if run is None:
        cursor.execute(
            """
            INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, started_at, completed_at)
            VALUES (%(run)s, 'direct_write', %(project)s, 'succeeded', '{"source": "direct_write"}', %(at)s, %(at)s)
            """,
            parameters,
        )
    insert_live_events(cursor, parameters)
    cursor.execute(
        """
        UPDATE "AgentWorkflowRun" run SET snapshot_at = %(at)s,
            legacy_at = CASE WHEN %(in_sync)s THEN %(at)s ELSE newest.legacy_at END,
            result = CASE jsonb_typeof(run.result) WHEN 'object' THEN run.result ELSE '{}' END
                || jsonb_build_object('state', (newest.result -> 'state') - %(keys)s::text[] || (
                    SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                    FROM unnest(%(keys)s::text[], %(documents)s::jsonb[]) changed (key, document)))
        FROM "AgentWorkflowRun" newest WHERE run.id = %(run)s AND newest.id = %(newest)s
        """,
        parameters,
    )
    return run_id
