"""Whether an UPDATE of "Project" did what it says.

The table belongs to the legacy application. A ``BEFORE UPDATE`` trigger of it can skip a row, and it can change a
document on its way. Then the clocks would say that the homes are equal, and they are not. So each of our statements
that writes "Project" returns whether the row is as it was to be.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentstate.state.homes import ALL_KEYS, CLOCK
from agentstate.state.keys import STATE_KEYS

UNUSABLE = (
    'its "stateUpdatedAt", or the snapshot_at of its newest run, is not within the years 2 to 9998. Any UPDATE of the '
    'row in "Project" sets the first; correct the second by hand'
)

REFUSED = (
    'the row in "Project" is not as it was written. A BEFORE UPDATE trigger of the table skips the row, or changes '
    "one of the five columns or their clock"
)

_COLUMNS = {key.name: key.column for key in STATE_KEYS}

_OURS = ("zz_agentstate_state_clock", "agentstate_freeze")

# Another trigger may change the row p before it is written: enabled or not, of the table or of its partition. Bits of
# tgtype: 1 for each row, 2 before, 16 update. A partition's copy of a trigger counts as internal before PostgreSQL 15.
_OTHER_TRIGGER = f"""EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN {_OURS}
        AND (NOT tgisinternal OR tgparentid <> 0))"""


def is_written(clock: str, state: str, keys: Sequence[str] = ALL_KEYS, *, untouched: Sequence[str] = ()) -> str:
    """Return the condition, for a ``RETURNING`` list, that row ``p`` has this clock and the documents of a state.

    Args:
        keys: of the columns that the statement writes.
        untouched: of others that must be as the state says. Their columns may be missing, and SQL NULL is not told
            from JSON null.
    """
    differs = [f"p.\"{_COLUMNS[key]}\" IS DISTINCT FROM written.state -> '{key}'" for key in keys]
    differs += [
        f"coalesce(to_jsonb(p) -> '{_COLUMNS[key]}', 'null') <> coalesce(written.state -> '{key}', 'null')"
        for key in untouched
    ]
    # Documents are compared only where a trigger could have changed them. OFFSET 0: see docs/architecture.md.
    return f"""({CLOCK} = {clock} AND CASE WHEN {_OTHER_TRIGGER} THEN (
            SELECT NOT ({" OR ".join(differs)}) FROM (SELECT {state} AS state OFFSET 0) written
        ) ELSE true END)"""
