"""Whether the legacy columns are there: asked of the catalog each time, since one day they are dropped under way."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from agentstate.state.keys import STATE_KEYS

# An SQL condition. In a transaction that holds a lock on a row of "Project" its answer stays true to the end.
COLUMNS_ARE_THERE = f"""
    EXISTS (SELECT FROM pg_attribute WHERE attrelid = '"Project"'::regclass
            AND attname = '{STATE_KEYS[0].column}' AND NOT attisdropped)"""

# What a transaction of ours says before it moves state into the columns, which frozen columns let through.
MOVES_STATE = "SET LOCAL agentstate.moves_state = 'on'"


def legacy_columns_are_there(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Tell whether the five columns are in the table; they are added and dropped together."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS_ARE_THERE}")
        (there,) = cursor.fetchone()
    return bool(there)
