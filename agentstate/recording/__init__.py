"""Record runs and their events as they happen."""

from agentstate.models.runs import IllegalStatusChange, RunNotFound
from agentstate.recording.asynchronous import AsyncRecorder, acurrent, aenqueue, arecord, aresume, astart
from agentstate.recording.blocks import enqueue, record, resume, start, waiting_state
from agentstate.recording.calls import ToolCall
from agentstate.recording.canceling import cancel
from agentstate.recording.current import current
from agentstate.recording.errors import CallNotOpen, OutsideRun, RowsDropped, RunCanceled, RunFinished
from agentstate.recording.recorder import Recorder
from agentstate.recording.stale import StaleRun, close_stale_runs

__all__ = [
    "AsyncRecorder",
    "CallNotOpen",
    "IllegalStatusChange",
    "OutsideRun",
    "Recorder",
    "RowsDropped",
    "RunCanceled",
    "RunFinished",
    "RunNotFound",
    "StaleRun",
    "ToolCall",
    "acurrent",
    "aenqueue",
    "arecord",
    "aresume",
    "astart",
    "cancel",
    "close_stale_runs",
    "current",
    "enqueue",
    "record",
    "resume",
    "start",
    "waiting_state",
]
