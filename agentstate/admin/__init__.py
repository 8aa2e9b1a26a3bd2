"""What engineers browse, one module a page. All of it is read-only but the flags, what was left aside,
decisions about what an intake found, and approvals of agents' calls."""

from agentstate.admin.document.admin import AgentDocumentAdmin
from agentstate.admin.flags.admin import FlagAdmin, FlagChangeAdmin
from agentstate.admin.passes.admin import BackfillPassAdmin, LeftAsideAdmin
from agentstate.admin.project.admin import ProjectAdmin
from agentstate.admin.rollout.admin import RolloutAdmin, RolloutStepAdmin
from agentstate.admin.run.admin import AgentWorkflowRunAdmin
from agentstate.admin.session.admin import AgentSessionAdmin
from agentstate.admin.storage.admin import StorageAdmin
from agentstate.admin.tokens.admin import ApiTokenAdmin
from agentstate.admin.usage.admin import UsageAdmin

__all__ = [
    "AgentDocumentAdmin",
    "AgentSessionAdmin",
    "AgentWorkflowRunAdmin",
    "ApiTokenAdmin",
    "BackfillPassAdmin",
    "FlagAdmin",
    "FlagChangeAdmin",
    "LeftAsideAdmin",
    "ProjectAdmin",
    "RolloutAdmin",
    "RolloutStepAdmin",
    "StorageAdmin",
    "UsageAdmin",
]
