"""The enclosing event: an open tool call, or any other event that new events become children of."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Block(NamedTuple):
    """A block of :func:`inside`, and what the framework's finder returned where it began."""

    run_id: str
    event_id: str
    found: str | None


# Tasks and asyncio.to_thread inherit both; a thread started by other means does not.
_block: ContextVar[_Block | None] = ContextVar("agentstate_enclosing_block", default=None)
_finder: ContextVar[tuple[str, Callable[[], str | None]] | None] = ContextVar("agentstate_finder", default=None)


def enclosing_event(run_id: str | None) -> str | None:
    """Return the id of the event of this run that encloses the caller, None if there is none.

    Blocks and a framework's calls nest in each other. A finder that returns another event than where the block began
    has entered a call inside the block.
    """
    block, found = _block.get(), _found(run_id)
    if block is None or block.run_id != run_id:
        return found
    return block.event_id if found is None or found == block.found else found


@contextmanager
def inside(run_id: str, event_id: str | None) -> Iterator[None]:
    """Make an event of a run the parent of the events that the block writes; with None, nothing changes."""
    if event_id is None:
        yield
        return
    token = _block.set(_Block(run_id, event_id, _found(run_id)))
    try:
        yield
    finally:
        with suppress(ValueError):  # a generator may be closed in another context than it began in
            _block.reset(token)


@contextmanager
def found_by(run_id: str, finder: Callable[[], str | None]) -> Iterator[None]:
    """Let a function find the enclosing event of a run, in a framework that runs tools where no block of ours reaches.

    Args:
        finder: returns the id of the event of the framework's innermost call that encloses the caller, None outside.
    """
    token = _finder.set((run_id, finder))
    try:
        yield
    finally:
        with suppress(ValueError):
            _finder.reset(token)


def _found(run_id: str | None) -> str | None:
    finder = _finder.get()
    return finder[1]() if finder is not None and finder[0] == run_id else None
