"""What is disturbed: each command, a save, a recording, an intake; and what must hold then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.migrations.databases import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents import Agent

    from tests.faults.injected.server import Database
    from tests.migrations.databases import Result

MOVED = ("Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession")
OPEN_GATE = ("waffle_flag", "agentkit_writes", "--everyone")
BACKFILL = ("backfill_agentkit_state",)
PROJECT = "injected"
ADVANCE = ("agentkit_rollout", "advance")
INGEST = ("ingest_rfp", PROJECT, "{call}")
PRUNE = ("prune_agentkit_history", "--older-than", "90d")

SAVE = f"""
from agentstate import state
before = state.load("{PROJECT}").facts
for number in range(0 if before is state.ABSENT else before + 1, 40):
    state.save("{PROJECT}", facts=number)
    print(number, flush=True)
"""
RECORD = f"""
from agentstate.recording import record
with record("injected", "{PROJECT}") as run:
    for number in range(40):
        run.event("injected", number)
        print(number, flush=True)
    run.save(coverage=number)
"""
MAKE_PROJECT = f"""
from tests.scenes import make_project
make_project("{PROJECT}")
"""
SAVE_AHEAD = "from tests.scenes import save_in_agentkit; save_in_agentkit(facts=[{'id': 'f1', 'text': 'new'}])"
EMPTY_SOME = """
from agentstate.models import Project
from tests.scenes import empty_columns, forward
empty_columns(*Project.objects.order_by("pk").values_list("pk", flat=True)[:20])
forward()
"""
WAIT_FOR_DECIDED_CALLS = """
from agentstate.approvals import decide
from agentstate.integrations.agents import run_workflow_sync
from tests.integrations.agents.mailing import mailing_agent
for number in range(3):
    run = run_workflow_sync(mailing_agent(sent=[]), "Mail them.", workflow_id="mailing")
    decide(run.run_id, "c2", approved=True, by="ada")
    decide(run.run_id, "c3", approved=False, message="Not to Bob.", by="eve")
"""
OLD_RUNS = """
INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at, completed_at)
SELECT 'old-' || i, 'old', '{status}', now() - interval '100 days', {completed} FROM generate_series(1, 60) i;
INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
SELECT id || '-' || j, id, 'step', '1', started_at + j * interval '1 ms'
FROM "AgentWorkflowRun", generate_series(1, 10) j
WHERE workflow_id = 'old'
"""


def rows(database: Database) -> Any:
    """Return a digest of all that passes move."""
    return [
        database.rows(f"SELECT count(*), md5(string_agg(t::text, ' ' ORDER BY t.id)) FROM \"{table}\" t")
        for table in MOVED
    ]


def state_of_projects(database: Database) -> Any:
    """Return each project's columns and newest snapshot, without ids of documents and times of decisions."""
    return database.rows(
        r"""
        SELECT id, regexp_replace(concat_ws(' ', "rfpNormJson", "factsJson", "coverageJson", "conflictLogJson",
            "eligibilityJson", newest.state), '"(source_upload_id|at)": "[\w:+-]+"', '', 'g')
        FROM "Project" p LEFT JOIN LATERAL (
            SELECT result -> 'state' AS state FROM "AgentWorkflowRun"
            WHERE project_id = p.id AND snapshot_at IS NOT NULL ORDER BY snapshot_at DESC LIMIT 1
        ) newest ON true ORDER BY id
        """
    )


def statuses(database: Database) -> Any:
    return database.rows('SELECT workflow_id, status, count(*) FROM "AgentWorkflowRun" GROUP BY 1, 2 ORDER BY 1, 2')


def schema(database: Database) -> Any:
    """Return every object of the database, what its migrations are, and what the legacy columns hold."""
    migrations = database.rows("SELECT app, name, count(*) FROM django_migrations GROUP BY 1, 2 ORDER BY 1, 2")
    return sorted(database.rows(SCHEMA)), migrations, state_of_projects(database)


def stage(database: Database) -> Any:
    """Return the steps of the rollout, the gates that they set, and all that passes move."""
    steps = 'SELECT from_stage, to_stage, completed_at IS NULL FROM "AgentStateRolloutStep" ORDER BY id'
    gates = 'SELECT name, everyone, percent FROM "AgentStateFlag" ORDER BY name'
    return database.rows(steps), database.rows(gates), rows(database)


def waiting(database: Database) -> Any:
    return database.rows("""SELECT count(*) FROM "AgentWorkflowRun" WHERE status = 'pending'""")


def nothing(database: Database, result: Result) -> None:
    """Most commands acknowledge nothing before their end."""


def saves_are_there(database: Database, result: Result) -> None:
    acknowledged = [int(line) for line in result.out.splitlines()]
    ((facts,),) = database.rows(f"""SELECT "factsJson" FROM "Project" WHERE id = '{PROJECT}'""")
    newest = database.rows(
        f"""SELECT result #>> '{{state,facts}}' FROM "AgentWorkflowRun" WHERE project_id = '{PROJECT}'
        AND snapshot_at IS NOT NULL ORDER BY snapshot_at DESC LIMIT 1"""
    )
    last = max(acknowledged, default=-1)
    assert (-1 if facts is None else facts) in {last, last + 1}, result.err
    assert json.loads(newest[0][0] if newest else "null") == facts  # both homes, or none


def events_are_there(database: Database, result: Result) -> None:
    acknowledged = [int(line) for line in result.out.splitlines()]
    written = database.rows(
        """SELECT payload FROM "AgentWorkflowRunEvent" WHERE type = 'injected'
        AND run_id = (SELECT id FROM "AgentWorkflowRun" WHERE workflow_id = 'injected' ORDER BY started_at LIMIT 1)
        ORDER BY payload"""
    )
    assert [number for (number,) in written] in (acknowledged, [*acknowledged, len(acknowledged)]), result.err


def calls_ran_once(database: Database, result: Result) -> None:
    """Check that no call ran twice, and that each run either waits with its state or has begun to work without it."""
    again = """
        SELECT run_id FROM "AgentWorkflowRunEvent" WHERE type = 'tool.result'
        GROUP BY run_id, payload ->> 'call_id' HAVING count(*) > 1"""
    half = """
        SELECT id FROM "AgentWorkflowRun"
        WHERE (status = 'pending') <> coalesce(jsonb_exists(result, 'interrupted'), false)"""
    assert (database.rows(again), database.rows(half)) == ([], []), result.err


def mailer(workflow_id: str) -> Agent[Any]:
    from tests.integrations.agents.mailing import resumed_agent

    return resumed_agent([])


@dataclass(frozen=True)
class Subject:
    """A command or a program.

    Attributes:
        command: what is disturbed. ``{call}`` is the files of a call for proposals, ``{archive}`` a folder, and
            ``{archives}`` the files in it.
        prepare: commands, Python programs and, in tuples with ``sql``, statements that make its database.
        outcome: what is the same after an undisturbed run, and after a disturbed one that was repeated.
        holds: what must hold after a disturbed one, before it is repeated.
        is_application: its own traceback is the application's business.
        when_done: how the command ends where it has nothing left to do, if not as it does at first.
        is_slow: it takes seconds, which are for the thorough profile alone.
    """

    command: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...]
    outcome: Callable[[Database], Any] = rows
    holds: Callable[[Database, Result], None] = nothing
    is_application: bool = False
    when_done: int | None = None
    is_slow: bool = False


def program(code: str) -> tuple[str, ...]:
    return ("shell", "-v0", "-c", code)


OLD = ("sql", OLD_RUNS.format(status="failed", completed="now() - interval '99 days'"))
SUBJECTS = {
    "forward": Subject((*BACKFILL, "--batch-size", "5"), ()),
    "save": Subject(
        program(SAVE), (program(MAKE_PROJECT), OPEN_GATE), state_of_projects, saves_are_there, is_application=True
    ),
    "record": Subject(
        program(RECORD), (program(MAKE_PROJECT), OPEN_GATE), state_of_projects, events_are_there, is_application=True
    ),
    "reverse": Subject(("reverse_backfill_agentkit_state", "--batch-size", "5"), (BACKFILL, program(SAVE_AHEAD))),
    "forward by two workers": Subject((*BACKFILL, "--batch-size", "5", "--workers", "2"), ()),
    "verification": Subject(("verify_agentkit_state",), (BACKFILL,)),
    "intake": Subject(INGEST, (program(MAKE_PROJECT), OPEN_GATE), state_of_projects),
    "left aside": Subject(("agentkit_left_aside", "retry", "--all"), (BACKFILL, program(EMPTY_SOME))),
    "stale runs": Subject(
        ("close_stale_runs", "--older-than", "1h"),
        (("sql", OLD_RUNS.format(status="running", completed="NULL")),),
        statuses,
    ),
    "pruning": Subject(PRUNE, (BACKFILL, OLD)),
    "archive": Subject(
        ("load_agentkit_archive", "{archives}"),
        (BACKFILL, OLD, (*PRUNE, "--batch-size", "10", "--archive", "{archive}")),
    ),
    "migrations": Subject(("migrate", "-v0"), (("migrate", "-v0", "agentstate", "zero"),), schema, is_slow=True),
    "rollout": Subject(("agentkit_rollout",), (BACKFILL,)),
    "advance": Subject(ADVANCE, (BACKFILL, ADVANCE), stage, when_done=3),
    "retreat": Subject(("agentkit_rollout", "retreat"), (BACKFILL, ADVANCE, program(SAVE_AHEAD)), stage, when_done=3),
    "decided calls": Subject(
        ("resume_waiting_runs", "--agents", f"{__name__}.mailer"),
        (program(WAIT_FOR_DECIDED_CALLS),),
        waiting,
        calls_ran_once,
        is_slow=True,
    ),
    "resolution": Subject(
        ("resolve_conflict", PROJECT, "project_narrative_pages", "previous", "--by", "ada"),
        (program(MAKE_PROJECT), OPEN_GATE, INGEST),
        state_of_projects,
    ),
    "override": Subject(
        (
            "override_eligibility",
            PROJECT,
            "applications_individuals_considered_798727",
            "--fatal",
            "no",
            "--note",
            "Waived.",
            "--by",
            "ada",
        ),
        (program(MAKE_PROJECT), OPEN_GATE, INGEST),
        state_of_projects,
    ),
}
