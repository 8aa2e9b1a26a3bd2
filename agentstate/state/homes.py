"""The two homes in SQL: a row ``p`` of :data:`PROJECTS`, its clock and columns, and its newest snapshot.

Every statement of the passes, of verification and of the runtime is built from these pieces. The five columns and the
clocks are spelled only here. The documents stay in the database: jsonb carries each exactly as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from agentstate.state.keys import STATE_KEYS

# Rows of "Project" with their five columns, to be named p. Works whether or not the columns still exist: a missing
# column resolves to the NULL of the same name in the row beside it, and the type of that NULL tells which it was.
# PostgreSQL resolves names when it parses the statement, so the plan is that of the table itself. has_columns is true
# while any of the five exists.
_MISSING = ", ".join(f'NULL::json AS "{key.column}"' for key in STATE_KEYS)
_PRESENT = ", ".join(f'"{key.column}"::jsonb AS "{key.column}"' for key in STATE_KEYS)
_TYPES = ", ".join(f'pg_typeof("{key.column}")' for key in STATE_KEYS)
PROJECTS = f"""(
        SELECT project.* FROM (SELECT {_MISSING}) missing CROSS JOIN LATERAL (
            SELECT id, "stateUpdatedAt", {_PRESENT},
                'jsonb'::regtype IN ({_TYPES}) AS has_columns
            FROM "Project"
        ) project
    )"""

CLOCK = 'p."stateUpdatedAt"'

ALL_KEYS = tuple(key.name for key in STATE_KEYS)

COLUMNS = ", ".join(f'p."{key.column}"' for key in STATE_KEYS)

# The bytes of the columns, and of the newest snapshot, as stored. Reads no document.
_WEIGHTS = (f'coalesce(pg_column_size(p."{key.column}"), 0)' for key in STATE_KEYS)
COLUMNS_WEIGHT = f"({' + '.join(_WEIGHTS)})"
SNAPSHOT_WEIGHT = "coalesce(pg_column_size(newest.result), 0)"

# All five columns are SQL NULL. Reads no document.
NO_COLUMNS = f"num_nonnulls({COLUMNS}) = 0"

# The columns as a snapshot's state: a column that is SQL NULL has no key, JSON null stays.
_DOCUMENTS = ", ".join(f"('{key.name}', p.\"{key.column}\")" for key in STATE_KEYS)
_ALL_DOCUMENTS = ", ".join(f"'{key.name}', p.\"{key.column}\"" for key in STATE_KEYS)
COLUMNS_AS_STATE = f"""
    CASE WHEN num_nulls({COLUMNS}) = 0 THEN jsonb_build_object({_ALL_DOCUMENTS})
    ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{{}}')
          FROM (VALUES {_DOCUMENTS}) documents (key, document))
    END"""

# The newest snapshot of project p, if it has one. Reads the unique index on (project_id, snapshot_at).
NEWEST = """
    LEFT JOIN LATERAL (
        SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
        WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
        ORDER BY run.snapshot_at DESC LIMIT 1
    ) newest ON true"""


def set_columns(state: str) -> str:
    """Return the ``SET`` list that writes a state into the columns: a key that it lacks becomes SQL NULL."""
    return ", ".join(f"\"{key.column}\" = {state} -> '{key.name}'" for key in STATE_KEYS)


def documents_differ(state: str) -> str:
    """Return the condition that columns of row ``p`` are not the documents of a state.

    Equal bytes are compared faster than equal values, and are the usual case.
    """
    differ = " OR ".join(f"p.\"{key.column}\" IS DISTINCT FROM {state} -> '{key.name}'" for key in STATE_KEYS)
    documents = ", ".join(f"{state} -> '{key.name}'" for key in STATE_KEYS)
    return f"CASE WHEN record_image_eq(ROW({COLUMNS}), ROW({documents})) THEN false ELSE {differ} END"


# -- clocks (docs/architecture.md, "The two clocks")

# A timestamptz can be infinite, or of a year that Python's datetime does not have. No clock can follow the last one.
# The trigger of "Project" keeps its clock in the same range.
_EARLIEST, _LATEST = "'0002-01-01 00:00+00'::timestamptz", "'9999-01-01 00:00+00'::timestamptz"


def is_usable(moment: str) -> str:
    """Return the condition that a moment can be a clock value: finite, and within the years of Python's datetime."""
    return f"{moment} BETWEEN {_EARLIEST} AND {_LATEST}"


def readable(moment: str) -> str:
    """Return a moment as Python can read it: the nearest usable one."""
    return (
        f"CASE WHEN {moment} > {_LATEST} THEN {_LATEST} WHEN {moment} < {_EARLIEST} THEN {_EARLIEST} ELSE {moment} END"
    )


def next_clock(*clocks: str) -> str:
    """Return a clock value later than the server's time and than each of the given ones.

    Ignores NULLs and clocks that are not usable, so that it never fails. Only for rows that are locked: two callers
    would get the same value.
    """
    return f"greatest(clock_timestamp(), {', '.join(map(just_after, clocks))})"


def just_after(clock: str) -> str:
    """Return the clock value that follows a clock, NULL where none can or there is no clock."""
    return f"CASE WHEN {clock} < {_LATEST} THEN {clock} + interval '1 microsecond' END"


def microseconds(moment: str) -> str:
    """Return a moment as whole microseconds since the epoch, as ids carry it. Defined for every timestamptz."""
    return f"round(extract(epoch FROM {moment}) * 1000000)"


# Both clocks of project p as text: which version of it an operator saw.
CLOCKS = f"concat_ws('/', {microseconds(CLOCK)}, {microseconds('newest.snapshot_at')})"


def free_clock(start: str, run: Callable[[str], str]) -> str:
    """Return the first clock value from ``start`` on at which no run has the id that it calls for.

    Runs of deleted projects keep their ids. A project that was restored with its clock meets them.

    Args:
        run: makes the SQL expression of the id from that of the clock value. Columns in it need their table's name,
            since runs have a ``project_id`` too.
    """
    return f"""(
        WITH RECURSIVE candidate (at) AS (
            SELECT {start}
            UNION ALL
            SELECT at + interval '1 microsecond' FROM candidate
            WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = {run("candidate.at")} OFFSET 0)
        )
        SELECT max(at) FROM candidate
    )"""
