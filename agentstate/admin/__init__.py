"""What engineers browse, one module a page. All of it is read-only but the flags."""

from agentstate.admin.flags import FlagAdmin, FlagChangeAdmin
from agentstate.admin.passes import BackfillPassAdmin, LeftAsideAdmin
from agentstate.admin.runs import AgentWorkflowRunAdmin
from agentstate.admin.sessions import AgentSessionAdmin

__all__ = [
    "AgentSessionAdmin",
    "AgentWorkflowRunAdmin",
    "BackfillPassAdmin",
    "FlagAdmin",
    "FlagChangeAdmin",
    "LeftAsideAdmin",
]
