"""Save documents into the homes whose write gates are open. The database merges them under the project's lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from agentstate import gates
from agentstate.enclosing import enclosing_event
from agentstate.models import Project
from agentstate.models.fields import new_id, possible_id
from agentstate.rounds import run as run_round
from agentstate.state.documents import ABSENT, encode
from agentstate.state.effects import REFUSED, UNUSABLE
from agentstate.state.errors import NotWritten, StateWriteDisabled, UnsuitableRun
from agentstate.state.filling import fill_columns
from agentstate.state.keys import STATE_KEYS
from agentstate.state.merging import settle
from agentstate.state.missing import missing
from agentstate.state.save_statements import (
    LOCK_PROJECT,
    LOCK_RUN,
    LOOK_AT_COLUMNS,
    LOOK_AT_SNAPSHOT,
    READ_STANDING,
    TAKE_IN_COLUMNS,
    WRITE_GIVEN_RUN,
    WRITE_NEW_RUN,
    update_columns,
)
from agentstate.state.standing import Standing
from agentstate.state.transactions import beginning

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.db.backends.utils import CursorWrapper

_BY_ATTRIBUTE = {key.attribute: key for key in STATE_KEYS}
_BY_NAME = {key.name: key for key in STATE_KEYS}


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


class _Present(NamedTuple):
    """What a save finds, under the locks.

    Attributes:
        usable: whether a clock value can follow the project's clocks.
        changed: the given keys whose documents differ from those of the home that is written.
        next_clock: the clock value of the save.
    """

    standing: str
    has_columns: bool
    usable: bool
    changed: list[str] | None
    newest_run: str | None
    next_clock: datetime


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
    parameters = {
        "project": possible_id(project_id),
        "run": None if run is None else possible_id(run),
        **_as_parameters(given),
    }
    likely_to_agentkit = gates.agentkit_writes(project_id)
    with beginning("State cannot be saved") as first:
        present = _lock(project_id, run, parameters, first, to_agentkit=likely_to_agentkit)
        # Inside the transaction: an operator who closes a gate and waits for older transactions waits for this one.
        to_agentkit, to_legacy = _homes_to_write(project_id)
        if not present.usable:
            raise NotWritten(project_id, UNUSABLE)
        if not present.has_columns:
            to_agentkit, to_legacy = to_agentkit or gates.stored_answers(project_id).agentkit_writes, False
            if not to_agentkit:
                raise StateWriteDisabled(project_id, has_columns=False)
        if _bring_up(project_id, present, to_agentkit=to_agentkit, to_legacy=to_legacy) or (
            to_agentkit != likely_to_agentkit
        ):
            present = _look(parameters, to_agentkit=to_agentkit)
        return _write(project_id, given, run, present, parameters, to_agentkit=to_agentkit, to_legacy=to_legacy)


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


def _lock(
    project_id: str, run: str | None, parameters: Mapping[str, Any], first: str, *, to_agentkit: bool
) -> _Present:
    """Lock the project, then the run, and look at the project. Every writer takes the locks in this order."""
    locks = [LOCK_PROJECT] if run is None else [LOCK_PROJECT, LOCK_RUN]
    look = LOOK_AT_SNAPSHOT if to_agentkit else LOOK_AT_COLUMNS
    rows = run_round([*locks, look], parameters, first=first)
    if None in rows:
        rows = run_round([*locks, look], parameters)  # once more: see agentstate.rounds
    project, *runs, present = rows
    if project is None or present is None:
        raise missing(project_id)
    if run is not None:
        _check_run(run, project_id, *runs)
    return _Present._make(present)


def _check_run(run: str, project_id: str, row: tuple[Any, ...] | None) -> None:
    if row is None:
        raise UnsuitableRun(run, "there is no such run")
    if row[0] != project_id:
        raise UnsuitableRun(run, f"it belongs to the project {row[0]!r}, not to {project_id!r}")
    if row[1] != "running":
        way_out = "resume it first" if row[1] == "pending" else "save in a new run"
        raise UnsuitableRun(run, f"it is {row[1]}, and only a running run takes changes; {way_out}")


def _look(parameters: Mapping[str, Any], *, to_agentkit: bool) -> _Present:
    """Look at the locked project again. What it returns stays true while the lock is held."""
    (row,) = run_round([LOOK_AT_SNAPSHOT if to_agentkit else LOOK_AT_COLUMNS], parameters)
    present = _Present._make(row or ())
    if not present.usable:
        raise NotWritten(parameters["project"], UNUSABLE)
    return present


def _bring_up(project_id: str, present: _Present, *, to_agentkit: bool, to_legacy: bool) -> bool:
    """Bring each home that will be written up to the one that is ahead, and return whether one was not."""
    standing, was_forked = Standing(present.standing), present.standing == Standing.FORKED
    with connection.cursor() as cursor:
        if was_forked and present.has_columns:
            preferred = "agentkit" if gates.agentkit_reads(project_id) else "legacy"
            if settle(cursor, [project_id], preferred).refused:
                raise NotWritten(project_id, REFUSED)
            standing = _standing(cursor, project_id)
        is_older = standing == Standing.EMPTY or (standing == Standing.LEGACY_AHEAD and present.has_columns)
        if to_agentkit and is_older:
            _take_in_columns(cursor, project_id)
            return True
        if to_legacy and standing == Standing.AGENTKIT_AHEAD:
            if fill_columns(cursor, [project_id]).refused:
                raise NotWritten(project_id, REFUSED)
            return True
    return was_forked


def _standing(cursor: CursorWrapper, project_id: str) -> Standing:
    cursor.execute(READ_STANDING, [project_id])
    return Standing(cursor.fetchone()[0])


def _take_in_columns(cursor: CursorWrapper, project_id: str) -> None:
    """Keep the columns as a legacy snapshot, at their clock or, if that is taken, at a new one in both homes."""
    cursor.execute(TAKE_IN_COLUMNS, [project_id])
    is_kept, has_clock = cursor.fetchone()
    if not has_clock:
        raise NotWritten(project_id, REFUSED)
    if not is_kept and _standing(cursor, project_id) in (Standing.LEGACY_AHEAD, Standing.EMPTY):
        raise NotWritten(project_id, "another run has the id of the snapshot of its columns")


def _write(
    project_id: str,
    given: dict[str, str | None],
    run: str | None,
    present: _Present,
    parameters: dict[str, Any],
    *,
    to_agentkit: bool,
    to_legacy: bool,
) -> Saved:
    """Write the documents that differ from what is there, at one clock value in all homes that are written.

    Raises:
        NotWritten: the newest snapshot is gone, or the columns are not as they were written.
    """
    if not present.changed:
        return Saved()
    changed = {key: given[key] for key in given if key in present.changed}
    run_id = (run or new_id()) if to_agentkit else None
    parameters |= {
        "run": run_id,
        "at": present.next_clock,
        "newest": present.newest_run,
        "in_sync": to_legacy,
        "parent": enclosing_event(run_id),
        **_as_parameters(changed),
    }
    statements = []
    if to_agentkit:
        statements.append(WRITE_NEW_RUN if run is None else WRITE_GIVEN_RUN)
    if to_legacy:
        statements.append(update_columns(tuple(changed), in_sync=to_agentkit))
    rows = run_round(statements, parameters)
    if to_agentkit and rows[0] != (True,):
        raise NotWritten(project_id, "its newest snapshot was deleted at the same time")
    if to_legacy and rows[-1] != (True,):
        raise NotWritten(project_id, REFUSED)
    return Saved(present.next_clock, tuple(_BY_NAME[key].attribute for key in changed), run_id)


def _as_parameters(given: dict[str, str | None]) -> dict[str, Any]:
    """Return the documents as one JSON object, and all keys: one that is not in the object is ABSENT.

    No array with NULLs: a database whose ``array_nulls`` is off reads them as text.
    """
    documents = ", ".join(f'"{key}": {document}' for key, document in given.items() if document is not None)
    return {"keys": list(given), "given": f"{{{documents}}}"}
