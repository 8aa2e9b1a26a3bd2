"""The run that the code is being recorded in, for tools and any other code below it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from agentstate.recording.errors import OutsideRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentstate.recording.recorder import Recorder

_current: ContextVar[Recorder] = ContextVar("agentstate_current_recorder")


def current() -> Recorder:
    """Return the recorder of the innermost block of :func:`record` and its like that encloses the caller.

    Tasks and ``asyncio.to_thread`` inherit it. A thread that is started by other means does not. In asynchronous code
    use :func:`agentstate.recording.acurrent`.

    Raises:
        OutsideRun: there is no such block.
    """
    try:
        return _current.get()
    except LookupError:
        raise OutsideRun from None


@contextmanager
def as_current(recorder: Recorder) -> Iterator[None]:
    """Make a recorder the current one in the block."""
    token = _current.set(recorder)
    try:
        yield
    finally:
        # A generator may be closed in another context than it began in, which does not have the recorder.
        with suppress(ValueError):
            _current.reset(token)
