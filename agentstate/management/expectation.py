"""What a pass expects, and the outcome beside it, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.management.progress import in_range
from agentstate.management.text import counted

if TYPE_CHECKING:
    from agentstate.backfill.expectation import Expectation, Made

# The time of a shared pass.
WORK = " of work, which its workers share"


def before(expected: Expectation, *, is_shared: bool = False) -> str:
    """Return the line that a pass says before it begins."""
    rows = f"{counted(expected.runs, 'run')}, {counted(expected.events, 'event')}, "
    free = "unknown" if expected.free is None else _bytes(expected.free)
    return (
        f"Expects {counted(expected.projects, 'project')}, about {rows}{counted(expected.sessions, 'session')} from "
        f"{_bytes(expected.bytes)}; disk: about {_bytes(expected.disk)} needed, {free} free; time: "
        f"{in_range(expected.seconds)}{WORK if is_shared else ''}."
    )


def afterwards(expected: Expectation, made: Made, *, is_shared: bool = False) -> str:
    """Return the line that holds the outcome against what was expected."""
    parts = [f"{name} {happened:,} of {number:,}" for name, number, happened in expected.compared(made)]
    disk = f"disk {_bytes(expected.grown or 0)} of {_bytes(expected.disk)}"
    took = f"{expected.took or 0:.0f} s of {in_range(expected.seconds)}{WORK if is_shared else ''}"
    return f"Outcome of what was expected: {', '.join(parts)}; {disk}; time {took}."


def _bytes(size: int) -> str:
    """Return a size in the units of the admin's pages, which are those of Django's ``filesizeformat``."""
    return f"{size / 2**30:,.1f} GB" if size >= 2**30 else f"{size / 2**20:,.1f} MB"
