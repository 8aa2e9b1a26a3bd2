"""The models: the legacy table "Project", as two models, and the tables of agentstate."""

from agentstate.models.attachments import AgentAttachment
from agentstate.models.documents import AgentDocument
from agentstate.models.flags import Flag, FlagChange
from agentstate.models.incoming import IncomingFile
from agentstate.models.left_aside import LeftAside
from agentstate.models.pages import Storage, Usage
from agentstate.models.passes import BackfillPass, PassRange
from agentstate.models.projects import LegacyState, Project
from agentstate.models.reads import ReadCount, ReadDifference
from agentstate.models.rollout import Rollout, RolloutStep, StepRequest
from agentstate.models.runs import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.sessions import AgentSession, AgentSessionEntry
from agentstate.models.tokens import ApiToken
from agentstate.models.verification import KeptVerification, UnequalProject

__all__ = [
    "AgentAttachment",
    "AgentDocument",
    "AgentSession",
    "AgentSessionEntry",
    "AgentWorkflowRun",
    "AgentWorkflowRunEvent",
    "ApiToken",
    "BackfillPass",
    "Flag",
    "FlagChange",
    "IncomingFile",
    "KeptVerification",
    "LeftAside",
    "LegacyState",
    "PassRange",
    "Project",
    "ReadCount",
    "ReadDifference",
    "Rollout",
    "RolloutStep",
    "StepRequest",
    "Storage",
    "UnequalProject",
    "Usage",
]
