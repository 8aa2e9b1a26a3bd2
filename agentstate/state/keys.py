"""The five documents of a project's state. This is the only list of them."""

from __future__ import annotations

from typing import NamedTuple


class StateKey(NamedTuple):
    """A document of the state: its key in a snapshot, its name in Python, its legacy column."""

    name: str
    attribute: str
    column: str


# In the order in which the first event of a legacy snapshot lists them.
STATE_KEYS = (
    StateKey("rfpNorm", "rfp_norm", "rfpNormJson"),
    StateKey("facts", "facts", "factsJson"),
    StateKey("coverage", "coverage", "coverageJson"),
    StateKey("conflictLog", "conflict_log", "conflictLogJson"),
    StateKey("eligibility", "eligibility", "eligibilityJson"),
)
