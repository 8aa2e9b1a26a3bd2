"""The runbook, as something that runs: its commands in their order, and what happens between them.

In the document, a block of console output holds a command and what it prints; ``[exit 3]`` is added where a command
ends with another code than 0. A comment such as ``<!-- a day passes -->`` is what the world does at that place; the
reader of the rendered page does not see it.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from tests.migrations.databases import Result
from tests.rollout.ladder import DATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.migrations.databases import Database

# The folder that the runbook names. Commands get a temporary folder instead.
FOLDER = "/tmp/call"
RUNBOOK = Path(__file__).parents[1] / "docs" / "runbook.md"

DOCUMENTS = (RUNBOOK, RUNBOOK.with_name("repair.md"))

_STEP = re.compile(
    r"```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```|```sql\n(?P<sql>.*?)```|<!-- (?P<event>.*?) -->",
    re.DOTALL,
)
# What a pass says on the standard error stream: figures of one machine at one moment.
_PROGRESS = re.compile(
    r"^((projects|sessions|forks|orphaned runs): [\d,]+ of [\d,]+|Expects |Outcome of what was expected: ).*\n",
    re.MULTILINE,
)

# What differs from run to run: times, durations and rates, people, ids of steps.
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|\+00:00|Z)?"), "WHEN"),
    (re.compile(r"[\w.-]+@[\w.-]+"), "WHO"),
    (re.compile(r"\b\d+(\.\d+)? seconds\b|\b\d+\.\d+ s\b"), "SECONDS"),
    (re.compile(r"\b[\d,]+ bytes\b"), "BYTES"),
    (re.compile(r"(?<= )(now|none|\d+ (s|min|h|d))(?=  |$)", re.MULTILINE), "AGE"),
    (re.compile(r"\b[a-z][a-z0-9]{23}\b"), "ID"),
    (re.compile(r"[ ─]{2,}|(?<=-)-+"), "  "),
)

# The legacy application writes one of the columns of the first project that has state.
LEGACY_WRITE = """
    UPDATE "Project" SET "coverageJson" = jsonb_build_object('score', random())
    WHERE id = (SELECT min(project_id) FROM "AgentWorkflowRun" WHERE snapshot_at IS NOT NULL)"""
EMPTY_COLUMNS = """
    UPDATE "Project" SET "rfpNormJson" = NULL, "factsJson" = NULL, "coverageJson" = NULL, "conflictLogJson" = NULL,
        "eligibilityJson" = NULL
    WHERE id = (SELECT max(project_id) FROM "AgentWorkflowRun" WHERE snapshot_at IS NOT NULL)"""
# Everything that is remembered moves a day into the past.
TIMES = {**DATED, "AgentStateRolloutStep": ["at", "completed_at"]}
READS = """
from agentstate import state
from agentstate.models import Project
ids = list(Project.objects.values_list("pk", flat=True))
for _ in range(4):
    state.load_many(ids)
"""
SAVES = """
import random
from agentstate import state
from agentstate.models import AgentWorkflowRun
runs = AgentWorkflowRun.objects.exclude(snapshot_at=None).order_by("project_id")
for project_id in runs.values_list("project_id", flat=True).distinct()[10:15]:
    state.save(project_id, coverage={"score": random.random()})
"""


@dataclass(frozen=True)
class Step:
    """A command with what it is to print, or an event."""

    command: str = ""
    output: str = ""
    event: str = ""
    sql: str = ""


def steps(text: str) -> Iterator[Step]:
    """Return what happens in a runbook, in order."""
    for found in _STEP.finditer(text):
        yield Step(found["command"] or "", found["output"] or "", found["event"] or "", found["sql"] or "")


def run(step: Step, database: Database) -> str:
    """Run a command of the runbook, and return what it prints; or let an event happen."""
    if step.sql:
        database.execute(step.sql)
        return ""
    if step.event:
        happen(step.event, database)
        return ""
    if step.command.startswith("psql "):
        return query(step.command, database)
    words = shlex.split(step.command.replace(FOLDER, str(_folder())))
    settings = {"PYTHONUNBUFFERED": "1"}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    assert words.pop(0) == "manage.py", step.command
    ended = Result.of(database.start(*words, settings=settings, stderr=subprocess.STDOUT))
    output = _PROGRESS.sub("", ended.out).replace(str(_folder()), FOLDER)
    return output + (f"[exit {ended.code}]\n" if ended.code else "")


def query(command: str, database: Database) -> str:
    """Run the query of a ``psql -c`` command, and print its rows as psql does. ``<runId>`` is the intake's run."""
    run_id = database.value(
        """SELECT id FROM "AgentWorkflowRun" WHERE workflow_id = 'rfp_intake' ORDER BY started_at DESC LIMIT 1"""
    )
    with database.connect() as connection:
        cursor = connection.execute(shlex.split(command)[-1].replace("<runId>", run_id))
        names = [column.name for column in cursor.description or ()]
        rows = [[str(value) for value in row] for row in cursor.fetchall()]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = [
        " | ".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True)) for row in (names, *rows)
    ]
    ruler = "-+-".join("-" * width for width in widths)
    return "\n".join([lines[0], ruler, *lines[1:], f"({len(rows)} rows)", ""])


@cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="agentstate-"))


def happen(event: str, database: Database) -> None:
    """Let something happen that is no command of the operator."""
    match event:
        case "a day passes":
            database.execute(_a_day())
        case "the application reads":
            _in_process(READS, database)
        case "the application saves":
            _in_process(SAVES, database)
        case "the legacy application writes":
            database.execute(LEGACY_WRITE)
        case "samples are backfilled":
            for command in ("migrate -v0", "seed_legacy_projects --count 40 --seed 1", "backfill_agentkit_state"):
                assert database.manage(*command.split()).code == 0
        case "the operator runs the statements":
            status = json.loads(database.manage("agentkit_rollout", "--format", "json").out)
            for statement in status["foreign_changes"]["statements"]:
                database.execute(statement)
        case "another program empties a project":
            database.execute(EMPTY_COLUMNS)
        case _:
            raise ValueError(f"Nothing is known of {event!r}.")


def _a_day() -> str:
    past = [
        f'UPDATE "{table}" SET ' + ", ".join(f'"{column}" = "{column}" - interval \'25 hours\'' for column in columns)
        for table, columns in TIMES.items()
    ]
    clock = 'ALTER TABLE "Project" {} TRIGGER zz_agentstate_state_clock'
    return "; ".join([clock.format("DISABLE"), *past, clock.format("ENABLE ALWAYS")])


def _in_process(code: str, database: Database) -> None:
    ended = database.manage("shell", "-v0", "-c", code)
    assert ended.code == 0, ended.err


def normalized(text: str) -> list[str]:
    """Return a command's output without what differs from run to run."""
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]
