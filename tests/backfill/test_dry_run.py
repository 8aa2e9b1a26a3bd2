"""A dry run says what the pass would write, and changes nothing at all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone

from agentstate.backfill import Outcome, PassOptions, Selection, run_pass
from agentstate.models.passes import Direction
from tests.scenes import change_columns, empty_columns, make_fork, make_project, make_samples, save_in_agentkit
from tests.sql import EVERYTHING, count, dump, scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = [{"role": "user", "content": "Hello"}, "odd"]


@pytest.fixture(autouse=True)
def moment_of_the_scene() -> datetime:
    """Make projects of every standing, and of every kind that needs a second look; return when all was in sync."""
    make_samples(60)
    for name in ("ahead", "kept", "merges", "clashes", "both", "emptied", "unequal", "back", "gone"):
        make_project(name, facts=[name], coverage={"score": 0.5}, eligibility=[1, 2], chat=CHAT)
    for name in ("gone", "gone-other", "gone-deleted"):
        make_project(f"{name}-2", conflictLog=[1, 2])
    run_pass(PassOptions(Direction.FORWARD))
    moment = timezone.now()
    make_project("new", facts=[1], conflictLog=[{"key": "a"}, None], chat=CHAT)
    make_project("chatty", chat=CHAT)
    save_in_agentkit("project_id IN ('ahead', 'kept')", facts=["saved"])
    # The run that held the columns of one has saved again since, so that they must be kept.
    sql("""DELETE FROM "AgentWorkflowRun" WHERE project_id = 'kept' AND workflow_id = 'legacy_snapshot'""")
    make_fork("merges", legacy={"coverage": 7}, agentkit={"facts": []})
    make_fork("clashes", legacy={"coverage": 7}, agentkit={"coverage": 8})
    make_fork("both", legacy={"coverage": 7, "facts": 0}, agentkit={"coverage": 8, "eligibility": 0})
    empty_columns("emptied")
    sql("""UPDATE "AgentWorkflowRun" SET result = '{"state": {"facts": 0}}' WHERE project_id = 'unequal'""")
    # As after the server's clock was set back.
    sql(
        """UPDATE "AgentWorkflowRun" SET snapshot_at = now() + interval '1 day', legacy_at = now() + interval '1 day'
           WHERE project_id = 'back'"""
    )
    restore_deleted_projects()
    return moment


def restore_deleted_projects() -> None:
    """Delete projects, and bring them back with their clock: one as it was, one with other content."""
    sql("""CREATE TEMPORARY TABLE deleted AS SELECT * FROM "Project" WHERE id LIKE 'gone%'""")
    sql("""DELETE FROM "Project" WHERE id LIKE 'gone%'""")
    sql("""UPDATE deleted SET "factsJson" = '"other"' WHERE id = 'gone-other-2'""")
    sql("""INSERT INTO "Project" SELECT * FROM deleted WHERE id <> 'gone-deleted-2'""")
    sql("DROP TABLE deleted")


def what_it_says(outcome: Outcome) -> dict[str, Any]:
    counts = outcome.counts
    return {
        "candidates": outcome.candidates,
        "written": counts.written,
        "merged": counts.merged,
        "runs": counts.runs,
        "events": counts.events,
        "sessions": counts.sessions,
        "failures": sorted((failure.project, failure.error_class) for failure in counts.failures),
        "forked": outcome.forked,
        "without a snapshot": outcome.without_snapshot,
    }


FORWARD = {"direction": Direction.FORWARD}
REVERSE = {"direction": Direction.REVERSE}


@pytest.mark.parametrize(
    "options",
    [
        FORWARD,
        {**FORWARD, "sessions": False},
        {**FORWARD, "workers": 2, "batch_size": 3},
        {**FORWARD, "selection": Selection(limit=2)},
        {**FORWARD, "selection": Selection(("new", "merges", "ahead"))},
        {**FORWARD, "prefer": "legacy"},
        {**FORWARD, "prefer": "agentkit"},
        REVERSE,
        {**REVERSE, "selection": Selection(limit=1)},
        {**REVERSE, "prefer": "legacy"},
        {**REVERSE, "prefer": "agentkit"},
        {**REVERSE, "force": True},
        {**REVERSE, "force": True, "selection": Selection(("emptied", "new"))},
        {**REVERSE, "force": True, "as_of": "the scene's"},
    ],
    ids=str,
)
def test_it_reports_what_the_pass_then_writes(options: dict[str, Any], moment_of_the_scene: datetime) -> None:
    if "as_of" in options:
        options = {**options, "as_of": moment_of_the_scene}
    before = dump(*EVERYTHING)

    said = what_it_says(run_pass(PassOptions(**options, dry_run=True)))
    assert dump(*EVERYTHING) == before

    orphans = count("AgentWorkflowRun", "project_id IS NULL")

    wrote = what_it_says(run_pass(PassOptions(**options)))
    assert said == wrote
    after = dump(*EVERYTHING)
    adopted = orphans - count("AgentWorkflowRun", "project_id IS NULL")
    assert wrote["runs"] - adopted == after["AgentWorkflowRun"][0] - before["AgentWorkflowRun"][0]
    assert wrote["events"] == after["AgentWorkflowRunEvent"][0] - before["AgentWorkflowRunEvent"][0]
    assert wrote["sessions"] == after["AgentSession"][0] - before["AgentSession"][0]


@pytest.mark.parametrize("options", [FORWARD, REVERSE, {**FORWARD, "prefer": "legacy"}, {**REVERSE, "force": True}])
def test_it_needs_no_right_to_write(options: dict[str, Any]) -> None:
    sql("SET default_transaction_read_only = on")
    try:
        outcome = run_pass(PassOptions(**options, dry_run=True))
    finally:
        sql("SET default_transaction_read_only = off")
    assert outcome.counts.size > 0


def test_its_bytes_are_those_of_the_documents() -> None:
    change_columns("new", facts="x" * 1000)
    outcome = run_pass(PassOptions(Direction.FORWARD, selection=Selection(("new",)), sessions=False, dry_run=True))
    run_pass(PassOptions(Direction.FORWARD, selection=Selection(("new",))))

    documents = scalar(
        """SELECT sum(pg_column_size(result -> 'state')) FROM "AgentWorkflowRun" WHERE project_id = 'new'"""
    )
    payloads = scalar(
        """SELECT sum(pg_column_size(payload || '{}')) FROM "AgentWorkflowRunEvent" WHERE run_id LIKE 'legacy_new%%'"""
    )
    assert documents <= outcome.counts.size <= documents + payloads + 100
