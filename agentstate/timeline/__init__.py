"""A run's events in order, as a person reads them: bounded looks at runs of any size."""

from agentstate.timeline.download import run_as_json
from agentstate.timeline.events import moment_of, place_of
from agentstate.timeline.filters import Filter
from agentstate.timeline.kinds import counts_of
from agentstate.timeline.pages import EventNotFound, Page, Place, page_of
from agentstate.timeline.pairs import other_half
from agentstate.timeline.runs import (
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
