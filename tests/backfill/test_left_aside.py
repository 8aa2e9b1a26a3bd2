"""Projects that cannot be moved: left aside with their error, until a later pass moves them."""

from __future__ import annotations

import random
import string

import pytest

from agentstate.backfill import Outcome, PassOptions, Selection, run_pass
from agentstate.backfill.verification import verify
from agentstate.models import LeftAside
from agentstate.models.passes import Direction
from tests.scenes import change_columns, empty_columns, make_project, save_in_agentkit
from tests.sql import count, dump, scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

# As long as the legacy table's own index bears, and too long for the ids that are made of it.
LONG = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=2690))


def forward(*projects: str, **options: object) -> Outcome:
    return run_pass(PassOptions(Direction.FORWARD, selection=Selection(projects), **options))  # type: ignore[arg-type]


def open_entries() -> list[tuple[str, str, int]]:
    return list(
        LeftAside.objects.filter(closed_at=None)
        .order_by("project_id")
        .values_list("project_id", "error_class", "attempts")
    )


@pytest.fixture(autouse=True)
def others() -> None:
    """Projects that give no trouble."""
    for number in range(8):
        make_project(f"P{number}", facts=[number])


def delete_and_restore(project: str, **changes: object) -> None:
    """Delete a project that was moved, and bring it back with its clock, as from a backup."""
    sql('CREATE TEMPORARY TABLE backup AS SELECT * FROM "Project" WHERE id = %s', project)
    sql('DELETE FROM "Project" WHERE id = %s', project)
    sql('INSERT INTO "Project" SELECT * FROM backup')
    sql("DROP TABLE backup")
    if changes:
        clock = scalar('SELECT snapshot_at FROM "AgentWorkflowRun" WHERE id LIKE %s', f"legacy_{project}%")
        sql('DELETE FROM "Project" WHERE id = %s', project)
        make_project(project, **changes)
        # Turned back as nobody may: the trigger would not have it.
        sql('ALTER TABLE "Project" DISABLE TRIGGER USER')
        sql('UPDATE "Project" SET "stateUpdatedAt" = %s WHERE id = %s', clock, project)
        sql('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock')


def test_an_id_too_long_for_an_index_row_is_left_aside() -> None:
    make_project(LONG, facts=1)
    outcome = forward(batch_size=3)

    assert (outcome.counts.written, outcome.left_aside) == (8, 1)
    (failure,) = outcome.counts.failures
    assert (failure.project, failure.error_class) == (LONG, "ProgramLimitExceeded")
    assert failure.error.startswith("index row size ")
    assert open_entries() == [(LONG, "ProgramLimitExceeded", 1)]
    assert scalar('SELECT left_aside FROM "AgentStatePass"') == 1
    assert (verify().left_aside, verify().clean) == (1, False)

    sql("""UPDATE "Project" SET id = 'short' WHERE id = %s""", LONG)
    assert forward().counts.written == 1
    assert open_entries() == []
    assert verify().clean


def test_each_attempt_is_counted_and_the_first_is_kept() -> None:
    make_project(LONG, facts=1)
    forward()
    first = LeftAside.objects.get()
    forward()
    again = LeftAside.objects.get()

    assert (again.attempts, again.first_seen_at, again.direction) == (2, first.first_seen_at, "forward")
    assert again.last_seen_at > first.last_seen_at


def test_a_project_that_fails_in_two_steps_counts_once_with_two_attempts() -> None:
    make_project(LONG, facts=1, chat=[{"role": "user", "content": "Hello"}])
    outcome = forward()

    assert [failure.project for failure in outcome.counts.failures] == [LONG, LONG]
    assert outcome.left_aside == 1
    assert open_entries() == [(LONG, "ProgramLimitExceeded", 2)]


def test_an_orphaned_run_with_the_same_content_is_adopted() -> None:
    forward()
    before = dump("AgentWorkflowRun", "AgentWorkflowRunEvent")
    delete_and_restore("P3")
    assert count("AgentWorkflowRun", "project_id IS NULL") == 1
    outcome = forward()

    assert (outcome.counts.written, outcome.counts.runs, outcome.counts.events) == (1, 1, 0)
    assert dump("AgentWorkflowRun", "AgentWorkflowRunEvent") == before
    assert verify().clean


def test_an_orphaned_run_with_other_content_blocks_its_project() -> None:
    forward()
    delete_and_restore("P3", facts="other")
    make_project("P9", facts=9)
    outcome = forward()

    assert (outcome.counts.written, outcome.left_aside) == (1, 1)
    (failure,) = outcome.counts.failures
    orphan = scalar('SELECT id FROM "AgentWorkflowRun" WHERE project_id IS NULL')
    assert failure.error.startswith(f"The run {orphan} is there already, with other content:")
    assert open_entries() == [("P3", "OrphanedRun", 1)]
    assert verify().offenders == [("P3", "legacy_ahead", ""), ("P3", "left_aside", None)]

    # The way out that the error names.
    sql('DELETE FROM "AgentWorkflowRun" WHERE id = %s', orphan)
    assert forward().counts.written == 1
    assert open_entries() == []
    assert verify().clean


def test_changing_the_columns_resolves_the_collision() -> None:
    forward()
    delete_and_restore("P3", facts="other")
    forward()
    change_columns("P3", facts="another")

    assert forward().counts.written == 1
    assert open_entries() == []
    assert verify().clean


@pytest.mark.parametrize("column", ["snapshot_at = NULL", "result = '{\"state\": {}}'", "workflow_id = 'mine'"])
def test_a_run_with_another_snapshots_id_blocks_its_project(column: str) -> None:
    forward()
    delete_and_restore("P3")
    sql(f'UPDATE "AgentWorkflowRun" SET {column} WHERE project_id IS NULL')

    assert [failure.project for failure in forward().counts.failures] == ["P3"]


def test_hundreds_of_emptied_projects_are_left_aside() -> None:
    for number in range(200):
        make_project(f"empty-{number:03}", facts=[number], coverage={"score": 0.5})
    forward()
    before = dump("Project", "AgentWorkflowRun")
    empty_columns(*(f"empty-{number:03}" for number in range(200)))
    make_project("P9", facts=9)
    outcome = forward(batch_size=30, workers=2)

    assert (outcome.candidates, outcome.counts.written, outcome.left_aside) == (201, 1, 200)
    assert open_entries() == [(f"empty-{number:03}", "Emptied", 1) for number in range(200)]
    assert "reverse_backfill_agentkit_state --force --project" in outcome.counts.failures[0].error

    # Half were damaged, and come back; the others were meant to be empty.
    half = [f"empty-{number:03}" for number in range(100)]
    run_pass(PassOptions(Direction.REVERSE, selection=Selection(tuple(half)), force=True))
    forward("empty-150", prefer="legacy")
    assert len(open_entries()) == 99
    forward(prefer="legacy")
    assert open_entries() == []
    assert verify().clean
    assert count("Project", """"factsJson" IS NULL""") == 100
    assert dump("Project", "AgentWorkflowRun") != before


def test_an_entry_of_a_deleted_project_is_closed() -> None:
    make_project(LONG, facts=1)
    forward()
    sql('DELETE FROM "Project" WHERE id = %s', LONG)
    assert verify().clean

    forward()
    assert open_entries() == []


def test_a_pass_over_other_projects_leaves_an_entry_open() -> None:
    make_project(LONG, facts=1)
    forward()
    forward("P1")
    assert open_entries() == [(LONG, "ProgramLimitExceeded", 1)]


def test_a_pass_without_sessions_leaves_the_entry_of_a_chat_open() -> None:
    name = LONG[:2680]
    make_project(name, chat=[{"role": "user", "content": "Hello"}])
    sql('ALTER TABLE "AgentSession" ADD CONSTRAINT short CHECK (length(id) < 2000)')
    try:
        forward()
        assert open_entries() == [(name, "CheckViolation", 1)]
        forward(sessions=False)
        assert open_entries() == [(name, "CheckViolation", 1)]
    finally:
        sql('ALTER TABLE "AgentSession" DROP CONSTRAINT short')


def test_a_dry_run_names_those_that_would_be_left_aside_and_keeps_no_entry() -> None:
    forward()
    empty_columns("P1")
    outcome = forward(dry_run=True)

    assert [failure.project for failure in outcome.counts.failures] == ["P1"]
    assert count("AgentStateLeftAside") == 0


def test_reverse_leaves_aside_what_the_database_refuses() -> None:
    forward()
    save_in_agentkit(facts="too much")
    sql("""ALTER TABLE "Project" ADD CONSTRAINT small CHECK (id <> 'P3' OR "factsJson" <> '"too much"')""")
    try:
        outcome = run_pass(PassOptions(Direction.REVERSE))
    finally:
        sql('ALTER TABLE "Project" DROP CONSTRAINT small')

    assert (outcome.counts.written, outcome.left_aside) == (7, 1)
    assert LeftAside.objects.get().direction == "reverse"
    assert run_pass(PassOptions(Direction.REVERSE)).counts.written == 1
    assert open_entries() == []
