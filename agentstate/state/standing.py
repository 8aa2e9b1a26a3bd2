"""The standing of a project between its two homes: two comparisons of clocks (docs/architecture.md, "Standing")."""

from __future__ import annotations

from enum import StrEnum

from agentstate.state.homes import CLOCK, COLUMNS, NO_COLUMNS, documents_differ


class Standing(StrEnum):
    """Which home has moved since the two were equal."""

    EMPTY = "empty"
    LEGACY_AHEAD = "legacy_ahead"
    IN_SYNC = "in_sync"
    AGENTKIT_AHEAD = "agentkit_ahead"
    FORKED = "forked"


# The pieces below read a row p of "Project" beside its newest snapshot (see homes.NEWEST). This one reads no document.
STANDING = f"""
    CASE
        WHEN newest.snapshot_at IS NULL THEN CASE WHEN {NO_COLUMNS} THEN 'empty' ELSE 'legacy_ahead' END
        WHEN {CLOCK} = newest.legacy_at THEN
            CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
        WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
        ELSE 'forked'
    END"""

# All five columns became SQL NULL over a snapshot with content: it looks like damage.
EMPTIED = f"({NO_COLUMNS} AND newest.result -> 'state' <> '{{}}')"

# The two homes hold different documents. If the clocks say in sync, a write bypassed the trigger. Comparing document
# by document is cheaper than building the columns' state. OFFSET 0 is an optimization fence, see docs/architecture.md.
DIFFERENT = f"""(
    SELECT {documents_differ("state")} OR num_nonnulls({COLUMNS}) <> (SELECT count(*) FROM jsonb_object_keys(state))
    FROM (SELECT newest.result -> 'state' AS state OFFSET 0) snapshot)"""
