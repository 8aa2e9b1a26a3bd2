"""What engineers browse, one module a page. All of it is read-only but the flags and what was left aside."""

from agentstate.admin.flags import FlagAdmin, FlagChangeAdmin
from agentstate.admin.passes import BackfillPassAdmin, LeftAsideAdmin
from agentstate.admin.projects import ProjectAdmin
from agentstate.admin.rollout import RolloutAdmin, RolloutStepAdmin
from agentstate.admin.runs import AgentWorkflowRunAdmin
from agentstate.admin.sessions import AgentSessionAdmin

__all__ = [
    "AgentSessionAdmin",
    "AgentWorkflowRunAdmin",
    "BackfillPassAdmin",
    "FlagAdmin",
    "FlagChangeAdmin",
    "LeftAsideAdmin",
    "ProjectAdmin",
    "RolloutAdmin",
    "RolloutStepAdmin",
]
