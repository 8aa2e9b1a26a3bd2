"""The two homes in SQL: a row ``p`` of :data:`PROJECTS`, its clock and columns, and its newest snapshot.

Every statement of the passes, of verification and of the runtime is put together from these pieces, so that the five
columns and the clocks are spelled once. The documents stay in the database: jsonb carries each exactly as it is.
"""

from __future__ import annotations

from agentstate.state.keys import STATE_KEYS

# Rows of "Project" with their five columns, to be named p, whether the columns are there or have been dropped: a name
# that "Project" does not have means the column of the same name of the row beside it, which holds nothing. PostgreSQL
# decides that when it reads the statement, and plans it as it would plan the table itself. Nothing is asked beforehand
# that could be wrong a moment later. That other row's type tells which of the two it is: has_columns
# is true while any of the five exists.
_NOWHERE = ", ".join(f'NULL::json AS "{key.column}"' for key in STATE_KEYS)
_SOMEWHERE = ", ".join(f'"{key.column}"::jsonb AS "{key.column}"' for key in STATE_KEYS)
_TYPES = ", ".join(f'pg_typeof("{key.column}")' for key in STATE_KEYS)
PROJECTS = f"""(
        SELECT project.* FROM (SELECT {_NOWHERE}) nowhere CROSS JOIN LATERAL (
            SELECT id, "stateUpdatedAt", {_SOMEWHERE},
                'jsonb'::regtype IN ({_TYPES}) AS has_columns
            FROM "Project"
        ) project
    )"""

CLOCK = 'p."stateUpdatedAt"'

COLUMNS = ", ".join(f'p."{key.column}"' for key in STATE_KEYS)

# All five columns are SQL NULL. Looks at no document.
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
    """Return the ``SET`` list that writes a state into the columns: a key that it has not becomes SQL NULL."""
    return ", ".join(f"\"{key.column}\" = {state} -> '{key.name}'" for key in STATE_KEYS)


def next_clock(*clocks: str) -> str:
    """Return a clock value later than the server's time and than each of the given ones, NULLs aside.

    Only for rows that are locked: two takers would get the same.
    """
    later = (f"{clock} + interval '1 microsecond'" for clock in clocks)
    return f"greatest(clock_timestamp(), {', '.join(later)})"


def microseconds(moment: str) -> str:
    """Return a moment as whole microseconds since the epoch, as ids carry it."""
    return f"(extract(epoch FROM {moment}) * 1000000)::bigint"
