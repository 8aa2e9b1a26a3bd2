"""The legacy snapshot: a run that holds the columns' content at their clock, and the events of that content.

The rules are in docs/architecture.md, "The legacy snapshot".
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from agentstate.state.homes import free_clock, microseconds, next_clock
from agentstate.state.keys import STATE_KEYS

_KEYS = ", ".join(f"CASE WHEN state ? '{key.name}' THEN '{key.name}' END" for key in STATE_KEYS)


@dataclass(frozen=True)
class Written:
    """What a move wrote, or would write.

    Attributes:
        projects, runs, events: how many.
        size: the bytes of jsonb before compression, in previews only.
        unusable: the projects with a clock that no other can follow, see :func:`homes.is_usable`.
        refused: those whose row in "Project" is not as it was written. The transaction must be rolled back.
    """

    projects: int
    runs: int
    events: int
    size: int = 0
    unusable: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __add__(self, other: Written) -> Written:
        return Written(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def run_id(project: str, at: str) -> str:
    """Return the id of a project's legacy snapshot at a clock value."""
    return f"'legacy_' || {project} || '_' || {microseconds(at)}"


def event_id(run: str, ordinal: str) -> str:
    """Return the id of a synthetic run's event: its ordinal has at least five digits, and is never cut."""
    return f"{run} || '_' || lpad({ordinal}::text, greatest(5, length({ordinal}::text)), '0')"


def entries_of_conflicts(log: str) -> str:
    """Return the entries of a conflict log as an array: the log, or the log as its only entry; none for JSON null."""
    return f"""CASE coalesce(jsonb_typeof({log}), 'null')
        WHEN 'array' THEN {log} WHEN 'null' THEN '[]' ELSE jsonb_build_array({log}) END"""


def entries_of_eligibility(eligibility: str) -> str:
    """Return the items of an eligibility document as an array: its ``items``, itself, or itself as the only item."""
    return f"""CASE coalesce(jsonb_typeof({eligibility}), 'null')
        WHEN 'array' THEN {eligibility}
        WHEN 'null' THEN '[]'
        ELSE CASE WHEN jsonb_typeof({eligibility}) = 'object' AND jsonb_typeof({eligibility} -> 'items') = 'array'
                  THEN {eligibility} -> 'items' ELSE jsonb_build_array({eligibility}) END
        END"""


def snapshot_events(state: str) -> str:
    """Return a subquery of the events of a state: ``(ordinal, type, payload)``, ordinals from 1.

    OFFSET 0 is an optimization fence, see docs/architecture.md.
    """
    return f"""(
        SELECT event.ordinal, event.type, event.payload FROM (
            SELECT state, coverage,
                jsonb_typeof(coverage) = 'object' AND jsonb_typeof(coverage -> 'score') = 'number' AS scored,
                {entries_of_conflicts("conflicts")} AS conflicts, {entries_of_eligibility("eligibility")} AS items
            FROM (
                SELECT state, state -> 'coverage' AS coverage, state -> 'conflictLog' AS conflicts,
                    state -> 'eligibility' AS eligibility
                FROM (SELECT {state} AS state OFFSET 0) whole
                OFFSET 0
            ) document
            OFFSET 0
        ) list
        CROSS JOIN LATERAL (SELECT CASE WHEN scored THEN 2 ELSE 1 END AS before_conflicts) start
        CROSS JOIN LATERAL (
            SELECT 1 AS ordinal, 'snapshot.legacy' AS type,
                jsonb_build_object('keys', array_remove(ARRAY[{_KEYS}], NULL)) AS payload
            UNION ALL
            SELECT 2, 'coverage.delta', jsonb_build_object('from', NULL, 'to', coverage -> 'score') WHERE scored
            UNION ALL
            SELECT before_conflicts + position, 'conflict.found', entry
            FROM jsonb_array_elements(conflicts) WITH ORDINALITY item (entry, position)
            UNION ALL
            SELECT before_conflicts + jsonb_array_length(conflicts) + position, 'eligibility.flag', entry
            FROM jsonb_array_elements(items) WITH ORDINALITY item (entry, position)
        ) event
    )"""


def events_written(events: str) -> str:
    """Return a subquery of the number of events in a subquery of events, and of their bytes: ``(count, size)``."""
    return f"(SELECT count(*), coalesce(sum(pg_column_size(payload)), 0) AS size FROM {events} event)"


def clock_to_keep(project: str, clock: str, newest: str) -> str:
    """Return the clock value at which columns can be kept: their own or, if that is taken, a new one.

    It is taken if a snapshot is at or after it, or if an orphaned run has its id.

    Args:
        project: the SQL expression of the project's id, with its table's name.
        clock, newest: those of the columns' clock and of the newest snapshot's; NULL if there is none.
    """
    own_or_next = f"CASE WHEN {newest} IS NULL OR {clock} > {newest} THEN {clock} ELSE {next_clock(clock, newest)} END"
    return free_clock(own_or_next, lambda at: run_id(project, at))


def take_in(name: str, source: str, *, at: str = "at", state: str = "state", may_exist: bool = False) -> str:
    """Return two CTEs, ``name`` and ``name_events``, that write legacy snapshots and their events.

    Args:
        name: of the CTEs; both return a row for each row written.
        source: rows with ``project_id``, may have a ``WHERE``.
        at, state: the SQL expressions of the clock and of the columns as state.
        may_exist: another connection may write the same snapshot at the same time; the row with its id stays.
    """
    run = run_id("project_id", at)
    on_conflict = "ON CONFLICT (id) DO NOTHING" if may_exist else ""
    return f"""
        {name} AS (
            {_insert_run("legacy_snapshot", source, run=run, at=at, legacy_at=at, state=state)} {on_conflict}
            RETURNING id, snapshot_at, result -> 'state' AS state
        ), {name}_events AS (
            {_insert_events(name, run="id", at="snapshot_at", events=snapshot_events("state"))} RETURNING 1
        )"""


def insert_runs(
    name: str, workflow: str, source: str, *, run: str, at: str, legacy_at: str, state: str, events: str
) -> str:
    """Return two CTEs, ``name`` and ``name_events``, that write runs which carry a snapshot, and their events.

    Args:
        name: of the CTEs; both return a row for each row written.
        workflow: the workflow's name, also written as the run's source.
        source: rows with ``project_id``, may have a ``WHERE``.
        run, at, legacy_at, state: the SQL expressions of the run's id, clocks and state.
        events: a subquery of ``(ordinal, type, payload)``.
    """
    return f"""
        {name} AS (
            {_insert_run(workflow, source, run=run, at=at, legacy_at=legacy_at, state=state)} RETURNING 1
        ), {name}_events AS (
            {_insert_events(source, run=run, at=at, events=events)} RETURNING 1
        )"""


def _insert_run(workflow: str, source: str, *, run: str, at: str, legacy_at: str, state: str) -> str:
    return f"""
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
                                        started_at, completed_at, snapshot_at, legacy_at)
        SELECT {run}, '{workflow}', project_id, 'succeeded', '{{"source": "{workflow}"}}',
               jsonb_build_object('state', {state}), {at}, {at}, {at}, {legacy_at}
        FROM {source}"""


def _insert_events(source: str, *, run: str, at: str, events: str) -> str:
    return f"""
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
        SELECT {event_id(run, "event.ordinal")}, {run}, event.type, event.payload,
               {at} + event.ordinal * interval '1 microsecond'
        FROM (SELECT * FROM {source}) source CROSS JOIN LATERAL {events} event"""
