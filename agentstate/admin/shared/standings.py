"""What each standing of a project means, for people."""

from __future__ import annotations

from agentstate.state.standing import Standing

STANDINGS = {
    Standing.EMPTY: "Neither home holds anything.",
    Standing.LEGACY_AHEAD: "The columns have changed since the newest snapshot, or there is none. "
    "The next forward backfill takes them in.",
    Standing.IN_SYNC: "Both homes hold the same state.",
    Standing.AGENTKIT_AHEAD: "Runs have saved since the columns were written. "
    "The next reverse backfill writes the columns.",
    Standing.FORKED: "Both homes have changed since they were equal. A forward backfill merges them by key; "
    "where both changed one key, a person decides.",
}
