"""The agent's run that code is called from; its recorder is :func:`agentstate.recording.current`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from agentstate.integrations.agents.hooks import RunEventHooks


class CurrentRun(NamedTuple):
    """The hooks of a run, and the event loop that the SDK runs it in."""

    hooks: RunEventHooks
    loop: AbstractEventLoop


# It reaches async tools, sync tools in their threads and nested agents, and keeps concurrent runs apart.
current_run: ContextVar[CurrentRun | None] = ContextVar("agentstate_current_run", default=None)
