"""Ctrl-C and SIGTERM: the running batches end, the command reports its counts, and a later one continues."""

from __future__ import annotations

import signal

import pytest

from agentstate.backfill.verification import verify
from tests.faults.processes import FORWARD, REVERSE, Command, run, wait_until, waits_for
from tests.faults.standstill import standstill_after
from tests.scenes import forward, make_samples, reverse, save_in_agentkit
from tests.sql import count, scalar, second_connection, sql

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 10
SMALL_BATCHES = ("--batch-size", str(BATCH))
LAST_OUTCOME = 'SELECT outcome FROM "AgentStatePass" ORDER BY id DESC LIMIT 1'


def interrupt(number: signal.Signals, *command: str, table: str) -> Command:
    """Start a command that writes a table, and interrupt it in the middle of a batch after it has moved something."""
    with standstill_after(2 * BATCH, table) as standstill:
        under_way = Command(*command, *SMALL_BATCHES, patient=True)
        standstill.wait()
        under_way.stop(number)
        standstill.end()
        under_way.end()
    assert under_way.process.returncode == 130, under_way.stderr
    return under_way


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_forward_ends_after_its_batch_and_resumes_later(number: signal.Signals, workers: str) -> None:
    make_samples(200)
    command = interrupt(number, FORWARD, "--workers", workers, table="AgentWorkflowRun")

    moved = count("AgentWorkflowRun")
    candidates = scalar('SELECT candidates FROM "AgentStatePass"')
    assert 2 * BATCH < moved < candidates
    assert command.stdout.startswith(f"{moved:,} of {candidates:,} projects moved, {moved:,} runs, ")
    assert command.stdout.endswith("Interrupted. Run the command again to continue.\n")
    assert "Traceback" not in command.stderr
    assert sql('SELECT outcome, written, error, ended_at IS NOT NULL FROM "AgentStatePass"') == [
        ("interrupted", moved, "", True)
    ]

    rest = run(FORWARD, "--format", "json")
    assert (rest.process.returncode, rest.summary["written"]) == (0, candidates - moved)
    assert verify().clean


def test_reverse_ends_after_its_batch_and_resumes_later() -> None:
    make_samples(200)
    forward()
    save_in_agentkit(facts={"org": {}})
    ahead = count("AgentWorkflowRun", "workflow_id = 'intake'")
    command = interrupt(signal.SIGINT, REVERSE, table="Project")

    seeded = count("AgentWorkflowRun", "workflow_id = 'intake' AND legacy_at = snapshot_at")
    assert 2 * BATCH < seeded < ahead
    assert command.stdout.startswith(f"{seeded:,} of {ahead:,} projects written back, ")
    assert scalar(LAST_OUTCOME) == "interrupted"

    reverse()
    assert verify().clean


def test_the_json_summary_counts_what_was_moved() -> None:
    make_samples(200)
    command = interrupt(signal.SIGINT, FORWARD, "--format", "json", table="AgentWorkflowRun")

    assert command.summary["written"] == count("AgentWorkflowRun")
    assert command.summary["written"] < command.summary["candidates"]


def test_a_dry_run_can_be_interrupted() -> None:
    make_samples(500)
    # It sleeps after each batch, a minute in all, and looks again and again for sessions that wait for locks.
    command = Command(FORWARD, "--dry-run", "--batch-size", "1", "--sleep-ratio", "100", patient=True)
    looks: set[tuple[object]] = set()
    look = (
        "SELECT query_start FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE %s"
    )
    wait_until(lambda: looks.update(sql(look, "%FROM pg_locks waiting%")) or len(looks) > 1)
    command.stop(signal.SIGINT)

    assert command.end() == 130
    assert "would be moved" in command.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interruption_ends_it_at_once(number: signal.Signals, workers: str) -> None:
    make_samples(60)
    with second_connection() as other:
        # A transaction that stays open keeps the batch from ending.
        other.execute("BEGIN")
        other.execute('LOCK TABLE "AgentWorkflowRunEvent" IN SHARE MODE')
        command = Command(FORWARD, "--workers", workers, *SMALL_BATCHES, patient=True)
        wait_until(waits_for(other))
        command.stop(number)
        with pytest.raises(AssertionError):
            wait_until(lambda: not command.is_running, seconds=0.5)
        command.signal(number)

        assert command.end() == (130 if number == signal.SIGINT else -signal.SIGTERM)
        other.execute("ROLLBACK")

    expectation, *rest = command.stderr.splitlines()
    assert expectation.startswith("Expects ")
    assert rest == (
        ["CommandError: Interrupted. The server rolls unfinished batches back."] if number == signal.SIGINT else []
    )
    assert scalar(LAST_OUTCOME) == ("interrupted" if number == signal.SIGINT else "running")
    forward()
    assert verify().clean
