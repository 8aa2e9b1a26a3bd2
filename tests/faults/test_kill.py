"""A pass that is killed at any moment and started again ends in the rows of an undisturbed one."""

from __future__ import annotations

import random
import signal

import pytest

from agentstate.backfill.verification import verify
from tests.faults.processes import FORWARD, REVERSE, Command, others_on_the_server, run, wait_until
from tests.faults.standstill import standstill_after
from tests.scenes import forward, make_samples, reverse, save_in_agentkit
from tests.sql import EVERYTHING, MOVED, count, dump, scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

PROJECTS = 400
KILLS = 3
BATCH = 5
SMALL_BATCHES = ("--batch-size", str(BATCH))


@pytest.fixture
def projects() -> None:
    make_samples(PROJECTS)


@pytest.fixture
def projects_ahead(projects: None) -> None:
    """Projects whose AgentKit home has moved on, and a copy of all rows to start from once more."""
    forward()
    save_in_agentkit(facts=[{"id": "f1", "text": "new"}], coverage=None)


def forget_what_was_moved() -> None:
    for table in reversed(MOVED):
        sql(f'DELETE FROM "{table}"')


def moments(total: int) -> list[int]:
    """Return how many rows are moved at each kill: the first, some at random, all."""
    return [1, *sorted(random.sample(range(2, total - 8 * BATCH), KILLS - 2)), total]


def kill_at(progress: int, moved: str, table: str, *command: str) -> bool:
    """Start a command, kill it when so many rows were moved, and return whether that was before its end.

    It stands still some batches later, so that it is, unless no batch is left then.
    """
    with standstill_after(progress - scalar(moved) + 4 * BATCH, table):
        command_under_way = Command(*command)
        wait_until(lambda: not command_under_way.is_running or scalar(moved) >= progress, seconds=60)
        command_under_way.process.kill()
        exit_code = command_under_way.end()
    wait_until(lambda: not others_on_the_server())
    return exit_code == -signal.SIGKILL


@pytest.mark.parametrize("workers", ["1", "2"])
def test_forward_ends_in_the_same_rows_however_often_it_is_killed(projects: None, workers: str) -> None:
    forward()
    undisturbed = dump("Project", *MOVED)
    total = count("AgentWorkflowRun")
    forget_what_was_moved()

    moved, command = 'SELECT count(*) FROM "AgentWorkflowRun"', (FORWARD, "--workers", workers, *SMALL_BATCHES)
    kills = [kill_at(moment, moved, "AgentWorkflowRun", *command) for moment in moments(total)]
    assert all(kills[:-1]), "the pass was over before it could be killed"
    last = run(FORWARD, "--workers", workers)

    assert (last.process.returncode, last.stderr.count("Traceback")) == (0, 0)
    assert dump("Project", *MOVED) == undisturbed
    assert verify().clean
    assert {outcome for (outcome,) in sql('SELECT outcome FROM "AgentStatePass"')} == {"finished", "lost"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_reverse_ends_in_the_same_rows_however_often_it_is_killed(projects_ahead: None, workers: str) -> None:
    for table in ("Project", *MOVED):
        sql(f'CREATE TABLE "kept_{table}" AS TABLE "{table}"')
    try:
        reverse()
        undisturbed = dump("Project", *MOVED)
        for table in (*reversed(MOVED), "Project"):
            sql(f'DELETE FROM "{table}"')
        for table in ("Project", *MOVED):
            sql(f'INSERT INTO "{table}" SELECT * FROM "kept_{table}"')
    finally:
        for table in ("Project", *MOVED):
            sql(f'DROP TABLE "kept_{table}"')

    seeded = """SELECT count(*) FROM "AgentWorkflowRun" WHERE workflow_id = 'intake' AND legacy_at = snapshot_at"""
    total = count("AgentWorkflowRun", "workflow_id = 'intake'")
    command = (REVERSE, "--workers", workers, *SMALL_BATCHES)
    kills = [kill_at(moment, seeded, "Project", *command) for moment in moments(total)]
    assert all(kills[:-1]), "the pass was over before it could be killed"

    assert run(REVERSE, "--workers", workers).process.returncode == 0
    assert dump("Project", *MOVED) == undisturbed
    assert verify().clean


def test_a_dry_run_that_is_killed_leaves_nothing(projects: None) -> None:
    before = dump(*EVERYTHING)
    dry_run = Command(FORWARD, "--dry-run", *SMALL_BATCHES, "--sleep-ratio", "100")
    wait_until(others_on_the_server)
    dry_run.kill()
    assert dump(*EVERYTHING) == before


def test_a_second_pass_writes_nothing(projects_ahead: None) -> None:
    reverse()
    moved = dump("Project", *MOVED)

    for command in (FORWARD, REVERSE, FORWARD):
        again = run(command, "--format", "json")
        assert again.process.returncode == 0
        assert {again.summary[key] for key in ("candidates", "written", "merged", "runs", "events", "sessions")} == {0}
    assert dump("Project", *MOVED) == moved
