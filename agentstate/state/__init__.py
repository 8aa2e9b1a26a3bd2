"""A project's state: its keys, its two homes and its standing; loading, saving and history."""

from agentstate.state.documents import ABSENT
from agentstate.state.errors import (
    NotWritten,
    ProjectHidden,
    ProjectNotFound,
    StateError,
    StateWriteDisabled,
    UnsuitableDocument,
    UnsuitableRun,
    UnsuitableTransaction,
)
from agentstate.state.history import Moment, PastState, at, history
from agentstate.state.loading import ProjectState, load, load_many
from agentstate.state.saving import Saved, save

__all__ = [
    "ABSENT",
    "Moment",
    "NotWritten",
    "PastState",
    "ProjectHidden",
    "ProjectNotFound",
    "ProjectState",
    "Saved",
    "StateError",
    "StateWriteDisabled",
    "UnsuitableDocument",
    "UnsuitableRun",
    "UnsuitableTransaction",
    "at",
    "history",
    "load",
    "load_many",
    "save",
]
