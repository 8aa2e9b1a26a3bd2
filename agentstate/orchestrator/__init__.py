"""The intake of documents as a recorded run, and the decisions that people take about what it found.

:mod:`agentstate.intake` works out the state from texts, without a database. This package keeps the documents, records
the run and saves. It needs the extra ``intake``.
"""

from agentstate.orchestrator.agent import AgentUnavailable
from agentstate.orchestrator.decisions import Decided, override_eligibility, resolve_conflict
from agentstate.orchestrator.orchestrate import Ingested, ingest
from agentstate.orchestrator.received import Received, ingest_received, receive
from agentstate.orchestrator.uploads import UploadsUnreadable, uploads_of

__all__ = [
    "AgentUnavailable",
    "Decided",
    "Ingested",
    "Received",
    "UploadsUnreadable",
    "ingest",
    "ingest_received",
    "override_eligibility",
    "receive",
    "resolve_conflict",
    "uploads_of",
]
