"""What a pass expects, and the outcome beside it, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.management.progress import in_range
from agentstate.management.text import counted

if TYPE_CHECKING:
    from agentstate.backfill import Counts, Outcome
    from agentstate.backfill.expectation import Expectation


def before(expected: Expectation) -> str:
    """Return the line that a pass says before it begins."""
    rows = f"{counted(expected.runs, 'run')}, {counted(expected.events, 'event')}, "
    free = "unknown" if expected.free is None else _bytes(expected.free)
    return (
        f"Expects {counted(expected.projects, 'project')}, about {rows}{counted(expected.sessions, 'session')} from "
        f"{_bytes(expected.bytes)}; disk: about {_bytes(expected.disk)} needed, {free} free; time: "
        f"{in_range(expected.seconds)}."
    )


def afterwards(expected: Expectation, outcome: Outcome) -> str:
    """Return the line that holds the outcome against what was expected."""
    counts: Counts = outcome.counts
    pairs = [
        ("projects", counts.written + counts.merged, expected.projects),
        ("runs", counts.runs, expected.runs),
        ("events", counts.events, expected.events),
        ("sessions", counts.sessions, expected.sessions),
    ]
    parts = [f"{name} {happened:,} of {number:,}" for name, happened, number in pairs]
    disk = f"disk {_bytes(expected.grown or 0)} of {_bytes(expected.disk)}"
    took = f"{outcome.seconds - outcome.throttled:.0f} s of {in_range(expected.seconds)}"
    return f"Outcome of what was expected: {', '.join(parts)}; {disk}; time {took}."


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
