"""The enclosing event: an open tool call, or any other event that new events become children of."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The run's id and the event's. Tasks and asyncio.to_thread inherit it; a thread started by other means does not.
_enclosing: ContextVar[tuple[str, str] | None] = ContextVar("agentstate_enclosing_event", default=None)


def enclosing_event(run_id: str | None) -> str | None:
    """Return the id of the event of this run that encloses the caller, None if there is none."""
    enclosing = _enclosing.get()
    return enclosing[1] if enclosing is not None and enclosing[0] == run_id else None


@contextmanager
def inside(run_id: str, event_id: str | None) -> Iterator[None]:
    """Make an event of a run the parent of the events that the block writes; with None, nothing changes."""
    if event_id is None:
        yield
        return
    token = _enclosing.set((run_id, event_id))
    try:
        yield
    finally:
        with suppress(ValueError):  # a generator may be closed in another context than it began in
            _enclosing.reset(token)
