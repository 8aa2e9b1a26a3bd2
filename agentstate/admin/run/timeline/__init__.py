"""A run's events in order: bounded reads of runs of any size."""

from agentstate.admin.run.timeline.download import run_as_json
from agentstate.admin.run.timeline.failures import Failures, failures_of
from agentstate.admin.run.timeline.filters import Filter
from agentstate.admin.run.timeline.header import (
    DOCUMENTS,
    DocumentText,
    RunHeader,
    document_of,
    header_of,
    neighbours_of,
    payload_of,
    sessions_of,
)
from agentstate.admin.run.timeline.jump import event_near, moment_in
from agentstate.admin.run.timeline.kinds import counts_of
from agentstate.admin.run.timeline.overview import Window, overview_of
from agentstate.admin.run.timeline.pages import EventNotFound, EventPage, PagePosition, opening_of, page_of
from agentstate.admin.run.timeline.pairs import other_half

__all__ = [
    "DOCUMENTS",
    "DocumentText",
    "EventNotFound",
    "EventPage",
    "Failures",
    "Filter",
    "PagePosition",
    "RunHeader",
    "Window",
    "counts_of",
    "document_of",
    "event_near",
    "failures_of",
    "header_of",
    "moment_in",
    "neighbours_of",
    "opening_of",
    "other_half",
    "overview_of",
    "page_of",
    "payload_of",
    "run_as_json",
    "sessions_of",
]
