"""Load a project's state from the home that the gates name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.db import DatabaseError, connection

from agentstate import gates
from agentstate.models.fields import possible_id
from agentstate.rounds import Statement, run
from agentstate.state.documents import ABSENT, decode
from agentstate.state.homes import CLOCK, COLUMNS, NEWEST, NO_COLUMNS, PROJECTS, microseconds, readable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.missing import missing
from agentstate.state.shadowing import DIFFERENCES, Reading, differences_from, lag, readings_made
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from django.http import HttpRequest


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Clock = TypeVar("Clock", int, datetime)


@dataclass(frozen=True)
class Documents:
    """A project's five documents.

    A missing document is ``ABSENT``, JSON null is None. Numbers that a float cannot represent exactly are ``Decimal``.
    """

    project_id: str
    rfp_norm: Any
    facts: Any
    coverage: Any
    conflict_log: Any
    eligibility: Any


@dataclass(frozen=True)
class ProjectState(Documents):
    """A project's five documents as one home holds them.

    Attributes:
        source: ``agentkit``, ``legacy``, or ``none`` if neither home has a document.
        as_of: the answering home's clock, None if the source is ``none``.
        standing: of the project; None if the runs could not be read.
        fell_back: why the legacy home answers although the gate names the AgentKit home: ``no_snapshot``,
            ``legacy_ahead``, ``malformed`` or ``error``; else None.
        behind: the gate names the older home.
    """

    source: str
    as_of: datetime | None
    standing: Standing | None
    fell_back: str | None = None
    behind: bool = False


_COLUMNS = ", ".join(f"CASE WHEN source = 'legacy' THEN \"{key.column}\"::text END" for key in STATE_KEYS)


# Which home answers, and why the legacy home does although AgentKit was asked.
FELL_BACK = """CASE
    WHEN NOT asked THEN NULL
    WHEN snapshot_at IS NULL THEN 'no_snapshot'
    WHEN standing = 'legacy_ahead' AND has_columns THEN 'legacy_ahead'
    WHEN jsonb_typeof(result -> 'state') IS DISTINCT FROM 'object' THEN 'malformed'
    END"""
SOURCE = """CASE
    WHEN asked AND fell_back IS NULL THEN 'agentkit'
    WHEN standing = 'empty' THEN 'none'
    ELSE 'legacy' END"""


# As microseconds: a datetime is made of a number much faster than of a timestamptz.
def _in_python(moment: str) -> str:
    return f"{microseconds(readable(moment))}::bigint"


def moment(number: int) -> datetime:
    """Return the moment that is so many microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=number)


# The CASEs detoast only the documents of the home that answers. OFFSET 0 is an optimization fence, see
# docs/architecture.md.
def _loading(wanted: str, differences: str = "NULL") -> str:
    return f"""
    SELECT id::text, standing, source, fell_back, {_in_python("clock")}, {_in_python("snapshot_at")}, shadowed,
           {differences}, CASE WHEN source = 'agentkit' THEN (result -> 'state')::text END, {_COLUMNS}
    FROM (
        SELECT *, {SOURCE} AS source
        FROM (
            SELECT *, {FELL_BACK} AS fell_back
            FROM (
                SELECT p.id, {CLOCK} AS clock, {COLUMNS}, p.has_columns, newest.snapshot_at, newest.result,
                       wanted.asked OR NOT p.has_columns AS asked, wanted.shadowed AND p.has_columns AS shadowed,
                       {STANDING} AS standing
                FROM {wanted} JOIN {PROJECTS} p ON p.id = wanted.id {NEWEST}
            ) homes
            OFFSET 0
        ) judged
        OFFSET 0
    ) chosen"""


_ONE = "(SELECT %(id)s::text AS id, %(asked)s::boolean AS asked, %(shadowed)s::boolean AS shadowed) wanted"
_MANY = "unnest(%(ids)s::text[], %(asked)s::boolean[], %(shadowed)s::boolean[]) wanted (id, asked, shadowed)"
LOAD, LOAD_MANY = Statement(_loading(_ONE)), _loading(_MANY)
# Separate statements, because planning the comparison takes longer than a plain read.
LOAD_SHADOWED, LOAD_MANY_SHADOWED = Statement(_loading(_ONE, DIFFERENCES)), _loading(_MANY, DIFFERENCES)

# The usual read: what the AgentKit home answers alone. No row, or a state that is no object: LOAD decides.
LOAD_SNAPSHOT = Statement(f"""
    SELECT CASE WHEN clock = legacy_at AND snapshot_at = legacy_at THEN '{Standing.IN_SYNC}'
                WHEN clock = legacy_at THEN '{Standing.AGENTKIT_AHEAD}' ELSE '{Standing.FORKED}' END,
           {_in_python("clock")}, {_in_python("snapshot_at")}, state::text
    FROM (
        SELECT {CLOCK} AS clock, newest.snapshot_at, newest.legacy_at, newest.result -> 'state' AS state
        FROM "Project" p {NEWEST}
        WHERE p.id = %(id)s AND ({CLOCK} = newest.legacy_at OR newest.snapshot_at <> newest.legacy_at)
        OFFSET 0
    ) homes""")

LOAD_LEGACY = f"""
    SELECT p.id, p.has_columns, {readable(CLOCK)}, {NO_COLUMNS},
        {", ".join(f'p."{key.column}"::text' for key in STATE_KEYS)}
    FROM {PROJECTS} p WHERE p.id = ANY (%(ids)s)"""


def load(project_id: str, request: HttpRequest | None = None, *, counts: bool = True) -> ProjectState:
    """Return a project's state, from the home that ``agentkit_reads`` names.

    If the gate is on, the AgentKit home answers, unless it has no snapshot, the legacy home is ahead, or the snapshot
    is malformed. A read never fails because of the AgentKit home. One query, which reads the answering documents only,
    and another one where the AgentKit home was asked and cannot answer.

    Args:
        request: makes the gate consider its user too.
        counts: count what the read shows about the two homes as evidence for the rollout. Pass False for reads that
            are not the application's own, such as an admin page.

    Raises:
        ProjectNotFound: no project has this id.
        ProjectHidden: row-level security hides it, or no project has this id.
    """
    if possible_id(project_id) is None:
        raise missing(project_id)
    asked = gates.agentkit_reads(project_id, request)
    shadowed = gates.agentkit_shadow_reads(project_id, request)
    if asked and not shadowed and (snapshot := _load_snapshot(project_id)):
        return snapshot
    states = _load([project_id], [asked], [shadowed], counts=counts)
    if project_id not in states:
        raise missing(project_id)
    return states[project_id]


def load_many(
    project_ids: Sequence[str], request: HttpRequest | None = None, *, counts: bool = True
) -> dict[str, ProjectState]:
    """Return the states of those of the projects that exist, by id, as :func:`load` does. Two queries at most."""
    project_ids = [project_id for project_id in dict.fromkeys(project_ids) if possible_id(project_id) is not None]
    asked = [gates.agentkit_reads(project_id, request) for project_id in project_ids]
    shadowed = [gates.agentkit_shadow_reads(project_id, request) for project_id in project_ids]
    return _load(project_ids, asked, shadowed, counts=counts)


def _load_snapshot(project_id: str) -> ProjectState | None:
    """Return the state as the AgentKit home has it; None where it cannot answer, or fails."""
    try:
        (row,) = run([LOAD_SNAPSHOT], {"id": project_id})
    except DatabaseError:
        if connection.in_atomic_block:
            raise
        return None
    if row is None or not (row[3] or "").startswith("{"):
        return None
    standing, clock, snapshot_at, text = row
    return ProjectState(
        project_id,
        **_documents(text),
        source="agentkit",
        as_of=moment(snapshot_at),
        standing=Standing(standing),
        behind=is_behind(standing, "agentkit", clock, snapshot_at),
    )


def _load(
    project_ids: Sequence[str], asked: Sequence[bool], shadowed: Sequence[bool], *, counts: bool
) -> dict[str, ProjectState]:
    try:
        rows = _rows(project_ids, asked, shadowed)
    except DatabaseError as error:
        # No query can run in a failed transaction.
        if connection.in_atomic_block:
            raise
        states, readings = _load_legacy(project_ids, asked, shadowed, error)
    else:
        loaded = [_Loaded._make([*row[:9], row[9:]]) for row in rows]
        states = {each.project_id: _state(each) for each in loaded}
        readings = [_reading(each) for each in loaded if each.fell_back or each.shadowed]
    if counts:
        _notify(readings)
    return states


def _rows(project_ids: Sequence[str], asked: Sequence[bool], shadowed: Sequence[bool]) -> list[tuple[Any, ...]]:
    if len(project_ids) == 1:
        parameters = {"id": project_ids[0], "asked": asked[0], "shadowed": shadowed[0]}
        statements = [LOAD_SHADOWED if shadowed[0] else LOAD]
        # Once more where there is none: see agentstate.rounds.
        return list(filter(None, run(statements, parameters))) or list(filter(None, run(statements, parameters)))
    with connection.cursor() as cursor:
        cursor.execute(
            LOAD_MANY_SHADOWED if any(shadowed) else LOAD_MANY,
            {"ids": list(project_ids), "asked": list(asked), "shadowed": list(shadowed)},
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


class _Loaded(NamedTuple):
    project_id: str
    standing: str
    source: str
    fell_back: str | None
    clock: int
    snapshot_at: int | None
    shadowed: bool
    differences: str | None
    state: str | None
    columns: Sequence[str | None]


def _state(row: _Loaded) -> ProjectState:
    documents = {key.attribute: decode(text) for key, text in zip(STATE_KEYS, row.columns, strict=True)}
    if row.source == "agentkit":
        documents = _documents(row.state)
    return ProjectState(
        row.project_id,
        **documents,
        source=row.source,
        as_of=None if row.source == "none" else moment(_answering_clock(row)),
        standing=Standing(row.standing),
        fell_back=row.fell_back,
        behind=is_behind(Standing(row.standing), row.source, row.clock, row.snapshot_at),
    )


def _answering_clock(row: _Loaded) -> int:
    return row.snapshot_at if row.source == "agentkit" and row.snapshot_at is not None else row.clock


def _documents(state: str | None) -> dict[str, Any]:
    snapshot = decode(state)
    return {key.attribute: snapshot.get(key.name, ABSENT) for key in STATE_KEYS}


def _reading(row: _Loaded) -> Reading:
    differences = differences_from(row.differences)
    return Reading(
        row.project_id,
        # An empty project has no content to fall back to.
        fell_back=row.fell_back if row.source == "legacy" else None,
        lag=lag(row.standing, row.snapshot_at is not None, differences is not None) if row.shadowed else None,
        differences=differences,
    )


def _notify(readings: Sequence[Reading]) -> None:
    """Notify receivers. A failing receiver must not break the read."""
    if informative := [reading for reading in readings if reading.is_informative]:
        readings_made.send_robust(sender=None, readings=informative)


def is_behind(standing: Standing, source: str, clock: Clock, snapshot_at: Clock | None) -> bool:
    if standing == Standing.AGENTKIT_AHEAD:
        return source == "legacy"
    if standing == Standing.FORKED and snapshot_at is not None:
        return (source == "legacy") == (clock < snapshot_at)
    return False


def _load_legacy(
    project_ids: Sequence[str], asked: Sequence[bool], shadowed: Sequence[bool], error: DatabaseError
) -> tuple[dict[str, ProjectState], list[Reading]]:
    """Return the content of the columns, because the runs cannot be read; the standing is then unknown."""
    named = dict(zip(project_ids, zip(asked, shadowed, strict=True), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(LOAD_LEGACY, {"ids": list(project_ids)})
        rows = cursor.fetchall()
    if not all(has_columns for _, has_columns, *_ in rows):
        raise error  # the columns have been dropped too
    states = {
        project_id: ProjectState(
            project_id,
            **{key.attribute: decode(text) for key, text in zip(STATE_KEYS, columns, strict=True)},
            source="none" if empty else "legacy",
            as_of=None if empty else clock,
            standing=None,
            fell_back="error" if named[project_id][0] else None,
        )
        for project_id, _, clock, empty, *columns in rows
    }
    readings = [
        Reading(project_id, fell_back=state.fell_back, lag="error" if named[project_id][1] else None)
        for project_id, state in states.items()
    ]
    return states, readings
