"""A run's events in order, as a person reads them: bounded looks at runs of any size."""

from agentstate.admin.run.timeline.download import run_as_json
from agentstate.admin.run.timeline.events import moment_of, place_of
from agentstate.admin.run.timeline.filters import Filter
from agentstate.admin.run.timeline.header import (
    DOCUMENTS,
    RunHeader,
    Text,
    document_of,
    header_of,
    neighbours_of,
    payload_of,
    pulse_of,
    sessions_of,
)
from agentstate.admin.run.timeline.kinds import counts_of
from agentstate.admin.run.timeline.pages import EventNotFound, Page, Place, page_of
from agentstate.admin.run.timeline.pairs import other_half

__all__ = [
    "DOCUMENTS",
    "EventNotFound",
    "Filter",
    "Page",
    "Place",
    "RunHeader",
    "Text",
    "counts_of",
    "document_of",
    "header_of",
    "moment_of",
    "neighbours_of",
    "other_half",
    "page_of",
    "payload_of",
    "place_of",
    "pulse_of",
    "run_as_json",
    "sessions_of",
]
