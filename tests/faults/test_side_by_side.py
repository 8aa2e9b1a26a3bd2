"""Two passes of one direction are harmless; the two directions exclude each other."""

from __future__ import annotations

import signal
import threading

import pytest
from django.db import connection

from agentstate.backfill import OtherDirectionRunning, PassOptions, Progress, run_pass
from agentstate.backfill.verification import verify
from agentstate.lock_spaces import DIRECTIONS
from agentstate.models.passes import Direction
from tests.faults.processes import FORWARD, REVERSE, Command, others_on_the_server, run, wait_until
from tests.scenes import forward, make_samples, reverse, save_in_agentkit
from tests.sql import LEDGER, MOVED, count, dump, scalar, second_connection, sql

pytestmark = pytest.mark.django_db(transaction=True)

SMALL_BATCHES = ("--batch-size", "5")


@pytest.fixture
def undisturbed() -> dict[str, tuple[int, str]]:
    """The rows that one pass makes; the projects wait to be moved again."""
    make_samples(400)
    forward()
    rows = dump("Project", *MOVED)
    for table in reversed(MOVED):
        sql(f'DELETE FROM "{table}"')
    return rows


def is_running() -> bool:
    return bool(count("AgentStatePass", "outcome = 'running'"))


def test_two_forward_processes_are_harmless(undisturbed: dict[str, tuple[int, str]]) -> None:
    both = [Command(FORWARD, "--format", "json", *SMALL_BATCHES) for _ in range(2)]

    assert [command.end() for command in both] == [0, 0]
    assert dump("Project", *MOVED) == undisturbed
    for key, table in (("runs", MOVED[0]), ("events", MOVED[1]), ("sessions", MOVED[2])):
        assert sum(command.summary[key] for command in both) == count(table)


def test_two_forward_threads_are_harmless(undisturbed: dict[str, tuple[int, str]]) -> None:
    start = threading.Barrier(2)
    written = []

    def move() -> None:
        try:
            start.wait()
            written.append(run_pass(PassOptions(Direction.FORWARD, batch_size=7)).counts.written)
        finally:
            connection.close()

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert dump("Project", *MOVED) == undisturbed
    assert (len(written), sum(written)) == (2, count("AgentWorkflowRun"))


def test_two_reverse_processes_are_harmless() -> None:
    make_samples(400)
    forward()
    save_in_agentkit(facts={"org": {"mission": "new"}})
    ahead = count("AgentWorkflowRun", "workflow_id = 'intake'")
    both = [Command(REVERSE, "--format", "json", *SMALL_BATCHES) for _ in range(2)]

    assert [command.end() for command in both] == [0, 0]
    assert sum(command.summary["written"] for command in both) == ahead
    assert count("AgentWorkflowRun", "workflow_id NOT IN ('intake', 'legacy_snapshot')") == 0
    assert verify().clean


@pytest.mark.parametrize(("first", "second"), [(FORWARD, REVERSE), (REVERSE, FORWARD)])
def test_the_directions_exclude_each_other(first: str, second: str) -> None:
    make_samples(30)
    forward()
    save_in_agentkit(facts={})
    sql("""UPDATE "Project" SET "factsJson" = '[]' WHERE id IN (SELECT id FROM "Project" ORDER BY id LIMIT 10)""")
    ledger = count("AgentStatePass")
    with second_connection() as other:
        # Somebody holds the rows that the first one wants, so that it stays under way.
        other.execute("BEGIN")
        other.execute('SELECT FROM "Project" FOR NO KEY UPDATE')
        under_way = Command(first)
        wait_until(is_running)
        before = dump("Project", *MOVED)
        refused = run(second)
        dry_run = run(second, "--dry-run")
        assert dump("Project", *MOVED) == before
        assert under_way.is_running
        other.execute("ROLLBACK")

    mine, its = {FORWARD: ("forward", "reverse"), REVERSE: ("reverse", "forward")}[second]
    assert (refused.process.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"CommandError: A {its} pass is running on this database, so no {mine} pass can start. Nothing was changed. "
        "Wait for its end, or interrupt it: what it has moved stays moved.\n"
    )
    assert dry_run.process.returncode == 0
    assert under_way.end() == 0
    assert count("AgentStatePass") == ledger + 1
    assert run(second).process.returncode == 0


def test_the_lock_of_a_killed_pass_is_gone_with_it() -> None:
    make_samples(30)
    with second_connection() as other:
        other.execute("BEGIN")
        other.execute('LOCK TABLE "AgentWorkflowRun" IN SHARE MODE')
        killed = Command(FORWARD, "--workers", "2", *SMALL_BATCHES)
        wait_until(is_running)
        killed.kill()
        other.execute("ROLLBACK")
    # The batches that were under way in the server end first.
    wait_until(lambda: not others_on_the_server())
    assert scalar('SELECT outcome FROM "AgentStatePass"') == "running"

    reverse()
    assert sql('SELECT direction, outcome, ended_at IS NOT NULL FROM "AgentStatePass" ORDER BY id') == [
        ("forward", "lost", True),
        ("reverse", "finished", True),
    ]


def test_a_live_pass_is_never_marked_lost() -> None:
    make_samples(30)
    with second_connection() as other:
        other.execute("BEGIN")
        other.execute('LOCK TABLE "AgentWorkflowRun" IN SHARE MODE')
        lives = Command(FORWARD)
        wait_until(is_running)
        also = Command(FORWARD)
        wait_until(lambda: count("AgentStatePass", "outcome = 'running'") == 2)
        also.signal(signal.SIGKILL)
        other.execute("ROLLBACK")

    assert lives.end() == 0
    also.end()
    wait_until(lambda: not others_on_the_server())
    forward()
    assert sql('SELECT outcome FROM "AgentStatePass" ORDER BY id') == [("finished",), ("lost",), ("finished",)]


def test_a_refused_pass_does_not_disturb_the_running_one() -> None:
    """It has taken its own lock for an instant, and the workers' connections must not mind."""
    make_samples(30)
    with second_connection() as other:

        def refused_at_the_start_of_each_step(progress: Progress) -> None:
            if progress.done == 0:
                other.execute("SELECT pg_advisory_lock_shared(%s, 2)", [DIRECTIONS])
            else:
                other.execute("SELECT pg_advisory_unlock_all()")

        options = PassOptions(Direction.FORWARD, workers=2, batch_size=5)
        outcome = run_pass(options, progress=refused_at_the_start_of_each_step)

    assert outcome.counts.written == outcome.candidates > 0


def test_a_refused_pass_is_not_recorded() -> None:
    before = dump(*LEDGER)
    with second_connection() as other:
        other.execute("SELECT pg_advisory_lock_shared(%s, 2)", [DIRECTIONS])
        with pytest.raises(OtherDirectionRunning):
            run_pass(PassOptions(Direction.FORWARD))
    assert dump(*LEDGER) == before
