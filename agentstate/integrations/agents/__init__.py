"""Run agents of the OpenAI Agents SDK as recorded runs, with sessions, state and approvals in the database.

Needs the extra ``agents``. Each name is imported on first use: importing the SDK takes about 3 s and 90 MB.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentstate.integrations.agents.deciding import NotInterrupted, UndecidedCalls
    from agentstate.integrations.agents.hooks import CurrentRunHooks, RunEventHooks
    from agentstate.integrations.agents.occupying import SessionBusy
    from agentstate.integrations.agents.outcome import Outcome
    from agentstate.integrations.agents.replay import recorded_model
    from agentstate.integrations.agents.resuming import resume_workflow, resume_workflow_sync
    from agentstate.integrations.agents.running import run_workflow, run_workflow_sync
    from agentstate.integrations.agents.session import DjangoSession
    from agentstate.integrations.agents.streaming import WorkflowStream, stream_workflow
    from agentstate.integrations.agents.tools import arecord_event, asave_state, record_event, save_state

__all__ = [
    "CurrentRunHooks",
    "DjangoSession",
    "NotInterrupted",
    "Outcome",
    "RunEventHooks",
    "SessionBusy",
    "UndecidedCalls",
    "WorkflowStream",
    "arecord_event",
    "asave_state",
    "record_event",
    "recorded_model",
    "resume_workflow",
    "resume_workflow_sync",
    "run_workflow",
    "run_workflow_sync",
    "save_state",
    "stream_workflow",
]

_MODULES = {
    "deciding": ["NotInterrupted", "UndecidedCalls"],
    "hooks": ["CurrentRunHooks", "RunEventHooks"],
    "occupying": ["SessionBusy"],
    "outcome": ["Outcome"],
    "replay": ["recorded_model"],
    "resuming": ["resume_workflow", "resume_workflow_sync"],
    "running": ["run_workflow", "run_workflow_sync"],
    "session": ["DjangoSession"],
    "streaming": ["WorkflowStream", "stream_workflow"],
    "tools": ["arecord_event", "asave_state", "record_event", "save_state"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name in ("agents", "openai"):
            raise ImportError(f"{name} needs the OpenAI Agents SDK: pip install 'agentstate[agents]'.") from error
        raise
    return getattr(module, name)
