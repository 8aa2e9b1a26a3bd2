"""The five documents that make up a project's state."""

from __future__ import annotations

from typing import NamedTuple


class StateKey(NamedTuple):
    """One document of the state: its key in a snapshot, its name in Python, its legacy column."""

    name: str
    attribute: str
    column: str


# In the order in which a legacy snapshot's first event names them.
STATE_KEYS = (
    StateKey("rfpNorm", "rfp_norm", "rfpNormJson"),
    StateKey("facts", "facts", "factsJson"),
    StateKey("coverage", "coverage", "coverageJson"),
    StateKey("conflictLog", "conflict_log", "conflictLogJson"),
    StateKey("eligibility", "eligibility", "eligibilityJson"),
)
