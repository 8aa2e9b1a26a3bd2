"""A run for the header of its page, with its small documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection

from agentstate.admin.run.timeline.usage import UsageLine, usage_in_short, usage_lines
from agentstate.models import AgentSession
from agentstate.recording.following import PULSE
from agentstate.state.documents import decode

# Documents of runs whose stored bytes are fewer are read with the page, and shown in it up to so many characters.
READ_BYTES, SHOWN, HEADING = 256_000, 10_000, 300
MOST_SESSIONS = 5

# The documents of a run by name, as SQL expressions.
DOCUMENTS = {
    "input": "run.input::text",
    "output": "(run.result -> 'output')::text",
    "state": "(run.result -> 'state')::text",
    "error": "run.error",
}


def _small(column: str, text: str) -> str:
    """Return the expression of a document's text, NULL where it is too long to be shown with the page."""
    return f"""CASE WHEN pg_column_size({column}) <= {READ_BYTES} THEN (
        SELECT CASE WHEN length(whole) <= {SHOWN} THEN whole END
        FROM (SELECT {text} AS whole OFFSET 0) document) END"""


class DocumentText(NamedTuple):
    """The beginning of a text, and how long all of it is."""

    text: str
    length: int

    @property
    def is_cut(self) -> bool:
        return len(self.text) < self.length


@dataclass(frozen=True)
class RunHeader:
    """The header of a run's page.

    Attributes:
        pulse: see :func:`agentstate.recording.following.pulses_of`.
        input, output: None if absent or too large to read with the page; ``may_have_`` tells them apart.
    """

    pulse: str
    id: str
    workflow_id: str
    status: str
    project_id: str | None
    project_name: str | None
    started_at: datetime
    completed_at: datetime | None
    snapshot_at: datetime | None
    now: datetime
    error: str | None
    input: str | None
    output: str | None
    may_have_input: bool
    may_have_output: bool
    usage: str | None

    @property
    def usage_lines(self) -> list[UsageLine]:
        return [] if self.usage is None else usage_lines(decode(self.usage))

    @property
    def usage_in_short(self) -> str:
        return "" if self.usage is None else usage_in_short(decode(self.usage))

    @property
    def is_running(self) -> bool:
        return self.status == "running"

    @property
    def has_ended(self) -> bool:
        return self.status not in ("pending", "running")

    @property
    def duration(self) -> timedelta | None:
        """How long it took, or has taken so far."""
        if self.status == "pending":
            return None
        return max((self.completed_at or self.now) - self.started_at, timedelta(0))

    @property
    def is_error_cut(self) -> bool:
        return len(self.error or "") == SHOWN

    @property
    def error_line(self) -> str:
        """The error's first line, as far as it fits a heading."""
        line = (self.error or "").strip().partition("\n")[0]
        return line if len(line) <= HEADING else f"{line[:HEADING]}…"

    @property
    def error_rest(self) -> str:
        """What follows the error's first line, the traceback; all of it where that line is a long one."""
        line, _, rest = (self.error or "").strip().partition("\n")
        return rest.strip("\n") if len(line) <= HEADING else f"{line}\n{rest}"


_HEADER = f"""
    SELECT {PULSE}, run.id, run.workflow_id, run.status, run.project_id, project.name,
        run.started_at, run.completed_at, run.snapshot_at, clock_timestamp(), left(run.error, {SHOWN}),
        {_small("run.input", DOCUMENTS["input"])}, {_small("run.result", DOCUMENTS["output"])},
        run.input IS NOT NULL,
        CASE WHEN run.result IS NULL THEN false
             WHEN pg_column_size(run.result) <= {READ_BYTES} THEN (run.result -> 'output') IS NOT NULL
             ELSE true END,
        {_small("run.usage", "run.usage::text")}
    FROM "AgentWorkflowRun" run LEFT JOIN "Project" project ON project.id = run.project_id WHERE run.id = %s"""


def header_of(run_id: str) -> RunHeader | None:
    """Return a run's header, None where no run has this id."""
    with connection.cursor() as cursor:
        cursor.execute(_HEADER, [run_id])
        found = cursor.fetchone()
    return RunHeader(*found) if found else None


def document_of(run_id: str, name: str, longest: int | None) -> DocumentText | None:
    """Return the text of one of ``DOCUMENTS``, cut to a length; None where there is none."""
    return _text('"AgentWorkflowRun" run', DOCUMENTS[name], "run.id = %(run)s", longest, run=run_id)


def payload_of(run_id: str, event_id: str, longest: int | None) -> DocumentText | None:
    """Return the text of an event's payload, cut to a length; None where the run has no such event."""
    return _text(
        '"AgentWorkflowRunEvent" event',
        "event.payload::text",
        "event.id = %(event)s AND event.run_id = %(run)s",
        longest,
        run=run_id,
        event=event_id,
    )


def _text(source: str, text: str, condition: str, longest: int | None, **parameters: str) -> DocumentText | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT left(whole, %(longest)s), length(whole)
            FROM (SELECT {text} AS whole FROM {source} WHERE {condition} OFFSET 0) document
            """,
            {"longest": 2**31 - 1 if longest is None else longest, **parameters},
        )
        found = cursor.fetchone()
    return DocumentText(*found) if found and found[0] is not None else None


class Neighbours(NamedTuple):
    """The ids of the runs of the same project that began before and after this one; None where there is none."""

    previous: str | None = None
    following: str | None = None


# The project's hash and the bound on the time alone are what the index is on; rows of the same time are told apart by
# their ids.
_OF_PROJECT = """project_id = %(project)s
            AND hashtextextended(project_id, 0) = hashtextextended(%(project)s, 0)"""
_NEIGHBOURS = f"""
    SELECT (SELECT id FROM "AgentWorkflowRun"
            WHERE {_OF_PROJECT} AND started_at <= %(at)s AND (started_at, id) < (%(at)s, %(run)s)
            ORDER BY started_at DESC, id DESC LIMIT 1),
           (SELECT id FROM "AgentWorkflowRun"
            WHERE {_OF_PROJECT} AND started_at >= %(at)s AND (started_at, id) > (%(at)s, %(run)s)
            ORDER BY started_at, id LIMIT 1)"""


def neighbours_of(run: RunHeader) -> Neighbours:
    """Return the runs beside this one."""
    if run.project_id is None:
        return Neighbours()
    with connection.cursor() as cursor:
        cursor.execute(_NEIGHBOURS, {"project": run.project_id, "at": run.started_at, "run": run.id})
        return Neighbours(*cursor.fetchone())


def sessions_of(run: RunHeader) -> list[str]:
    """Return the ids of the sessions that this run opened, the newest first, one more than ``MOST_SESSIONS`` at most.

    They are their project's, which is what the index is on; a run without a project has none left.
    """
    if run.project_id is None:
        return []
    sessions = AgentSession.objects.filter(project=run.project_id, agent_run=run.id).order_by("-created_at", "id")
    return list(sessions.values_list("pk", flat=True)[: MOST_SESSIONS + 1])
