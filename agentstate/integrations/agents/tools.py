"""Write events and save state from the code of a tool, as part of the run that calls it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentstate.integrations.agents.hooks import current_run
from agentstate.recording import acurrent, current
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstate.state import Saved

T = TypeVar("T")


def record_event(type: str, payload: object = None) -> str:  # noqa: A002
    """Write one event from a sync tool, and return its id; see :meth:`agentstate.recording.Recorder.event`.

    The SDK calls sync tools in threads of their own. The event is written in the run's own database thread, so the
    tool opens no connection and sees the caller's transaction.

    Raises:
        OutsideRun: no recorded run encloses the call.
        RuntimeError: the code runs in an event loop; await :func:`arecord_event`.
    """
    return _from_thread("record_event", partial(current().event, type, payload))


def save_state(**documents: Any) -> Saved:
    """Save documents of the project's state from a sync tool; see :meth:`agentstate.recording.Recorder.save`.

    Raises:
        OutsideRun, RuntimeError: see :func:`record_event`.
    """
    return _from_thread("save_state", partial(current().save, **documents))


async def arecord_event(type: str, payload: object = None) -> str:  # noqa: A002
    """Write one event from an async tool, and return its id.

    Raises:
        OutsideRun: no recorded run encloses the call.
    """
    return await acurrent().event(type, payload)


async def asave_state(**documents: Any) -> Saved:
    """Save documents of the project's state from an async tool.

    Raises:
        OutsideRun: no recorded run encloses the call.
    """
    return await acurrent().save(**documents)


def _from_thread(name: str, write: Callable[[], T]) -> T:
    if _is_in_event_loop():
        raise RuntimeError(f"{name}() would block the event loop that it was called in. Await a{name}() there.")
    run = current_run.get()
    if run is None:  # a block of record() without an agent, as in a test of the tool
        return write()
    return asyncio.run_coroutine_threadsafe(in_database_thread(write), run.loop).result()


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
