"""What comes in between a batch only repeats it: provoked for real, by a second connection."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from agentstate.backfill import Outcome, PassOptions, batches, run_pass
from agentstate.backfill.verification import verify
from agentstate.lock_spaces import PASSES
from agentstate.models.passes import Direction
from tests.faults.processes import (
    FORWARD,
    REVERSE,
    WAITS_FOR,
    Command,
    terminate_what_waits_for,
    wait_until,
    waits_for,
)
from tests.scenes import change_columns, forward, make_fork, make_project, reverse, save_in_agentkit
from tests.sql import WAITING_FOR_LOCKS, count, scalar, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

pytestmark = pytest.mark.django_db(transaction=True)


class Under:
    """A pass under way in a thread."""

    def __init__(self, direction: Direction, **settings: str) -> None:
        self._thread = threading.Thread(target=self._run, args=(direction, settings))
        self._result: list[Outcome | Exception] = []
        self._thread.start()

    def _run(self, direction: Direction, settings: dict[str, str]) -> None:
        try:
            for name, value in settings.items():
                sql("SELECT set_config(%s, %s, false)", name, value)
            self._result.append(run_pass(PassOptions(direction)))
        except Exception as error:
            self._result.append(error)
        finally:
            connection.close()

    def end(self) -> Outcome:
        self._thread.join(timeout=60)
        (result,) = self._result
        if isinstance(result, Exception):
            raise result
        return result


def begin(other: psycopg.Connection, *statements: str) -> None:
    for statement in ("BEGIN", *statements):
        other.execute(statement)


@pytest.fixture
def projects() -> None:
    for number in range(1, 6):
        make_project(f"p{number}", facts=[{"id": number}], chat=[{"role": "user", "content": "Hello"}])


def test_a_project_that_is_deleted_in_the_middle_of_a_batch(projects: None) -> None:
    with second_connection() as other:
        begin(other, """DELETE FROM "Project" WHERE id = 'p3'""")
        under_way = Under(Direction.FORWARD)
        wait_until(waits_for(other))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.runs, outcome.counts.sessions, outcome.counts.failures) == (4, 4, [])
    assert sql('SELECT project_id FROM "AgentWorkflowRun" ORDER BY 1') == [("p1",), ("p2",), ("p4",), ("p5",)]


def test_a_project_that_is_deleted_before_its_session_is_made(projects: None) -> None:
    forward(sessions=False)
    with second_connection() as other:
        begin(other, """DELETE FROM "Project" WHERE id = 'p3'""")
        under_way = Under(Direction.FORWARD)
        wait_until(waits_for(other))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.sessions, outcome.counts.failures) == (4, [])
    assert verify().clean


def test_a_rolled_back_delete_lets_the_batch_through(projects: None) -> None:
    with second_connection() as other:
        begin(other, """DELETE FROM "Project" WHERE id = 'p3'""")
        under_way = Under(Direction.FORWARD)
        wait_until(waits_for(other))
        other.execute("ROLLBACK")
        assert under_way.end().counts.runs == 5


def run_into_a_deadlock(direction: Direction, change: str, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Run a pass that comes to p5 while the transaction that has p5 waits for p1, which the pass has."""
    monkeypatch.setattr(batches, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '10min'")
    deadlocks = deadlocks_so_far()
    with (
        ThreadPoolExecutor(1) as elsewhere,
        second_connection(deadlock_timeout="10min") as other,  # the pass is to notice
        second_connection() as holds_it_up,
    ):
        begin(other, change.format("p5"))
        begin(holds_it_up, change.format("p3"))
        under_way = Under(direction, deadlock_timeout="10ms")
        wait_until(waits_for(holds_it_up))
        waiting = elsewhere.submit(other.execute, change.format("p1"))
        wait_until(lambda: sql(f"{WAITING_FOR_LOCKS} AND pid = %s", other.info.backend_pid))
        holds_it_up.execute("ROLLBACK")
        waiting.result(60)
        other.execute("COMMIT")
        outcome = under_way.end()
    wait_until(lambda: deadlocks_so_far() > deadlocks)
    return outcome


def test_a_deadlock_over_sessions(projects: None, monkeypatch: pytest.MonkeyPatch) -> None:
    forward()
    sql("""UPDATE "Project" SET meta = '{"chat": [{"role": "user", "content": "Changed"}]}'""")
    change = """UPDATE "AgentSession" SET memory_id = 'm' WHERE id = 'legacy_{}'"""
    outcome = run_into_a_deadlock(Direction.FORWARD, change, monkeypatch)

    assert (outcome.counts.sessions, outcome.counts.failures) == (5, [])
    assert count("AgentSession", "memory_id = 'm' AND transcript_json -> 0 ->> 'content' = 'Changed'") == 2


def test_a_deadlock_over_the_columns(projects: None, monkeypatch: pytest.MonkeyPatch) -> None:
    forward()
    save_in_agentkit(facts=["new"])
    change = """UPDATE "Project" SET name = 'other' WHERE id = '{}'"""
    outcome = run_into_a_deadlock(Direction.REVERSE, change, monkeypatch)

    assert (outcome.counts.written, outcome.counts.failures) == (5, [])
    assert count("Project", """name = 'other' AND "factsJson" = '["new"]'""") == 2
    assert verify().clean


def deadlocks_so_far() -> int:
    return int(scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))


@pytest.fixture
def fails_once_to_serialize() -> Iterator[None]:
    """Another trigger of the legacy table, which meets a serialization failure at the first update."""
    sql("CREATE SEQUENCE updates_seen")
    sql("""
        CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('updates_seen') = 1 THEN
                RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
            END IF;
            RETURN NEW;
        END $$
    """)
    sql('CREATE TRIGGER fail_once BEFORE UPDATE ON "Project" FOR EACH ROW EXECUTE FUNCTION fail_once()')
    yield
    sql('DROP TRIGGER fail_once ON "Project"')
    sql("DROP FUNCTION fail_once()")
    sql("DROP SEQUENCE updates_seen")


def test_a_serialization_failure(projects: None, fails_once_to_serialize: None) -> None:
    forward()
    save_in_agentkit(facts=["new"])
    counts = reverse().counts

    assert (counts.written, counts.failures) == (5, [])
    assert scalar("SELECT last_value FROM updates_seen") == 6


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_save_that_reverse_waits_for_is_seen_whatever_the_default_isolation(projects: None, isolation: str) -> None:
    forward()
    save_in_agentkit(facts=["older"])
    with second_connection() as other:
        begin(
            other,
            """SELECT FROM "Project" WHERE id = 'p3' FOR NO KEY UPDATE""",
            """INSERT INTO "AgentWorkflowRun"
                   (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
               SELECT 'newer', 'live', project_id, 'running', '{"state": {"facts": ["newer"]}}',
                      clock_timestamp(), snapshot_at + interval '1 microsecond', legacy_at
               FROM "AgentWorkflowRun" WHERE project_id = 'p3' ORDER BY snapshot_at DESC LIMIT 1""",
        )
        under_way = Under(Direction.REVERSE, default_transaction_isolation=isolation)
        wait_until(waits_for(other))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.written, outcome.counts.failures) == (5, [])
    assert scalar("""SELECT "factsJson"::text FROM "Project" WHERE id = 'p3'""") == '["newer"]'
    assert verify().clean


def test_a_lock_beyond_the_servers_time_out_is_retried(projects: None) -> None:
    forward()
    save_in_agentkit(facts=["new"])
    with second_connection() as other:
        begin(other, """SELECT FROM "Project" WHERE id = 'p3' FOR UPDATE""")
        under_way = Under(Direction.REVERSE, lock_timeout="20ms")
        wait_until(waits_for(other))
        first = sql(WAITS_FOR, other.info.backend_pid)
        wait_until(lambda: sql(WAITS_FOR, other.info.backend_pid) not in (first, []))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.written, outcome.counts.failures) == (5, [])


def test_one_locked_project_does_not_lock_the_others(projects: None) -> None:
    forward()
    save_in_agentkit(facts=["new"])
    with second_connection() as idle, second_connection(lock_timeout="1min") as application:
        begin(idle, """SELECT FROM "Project" WHERE id = 'p3' FOR UPDATE""")
        under_way = Under(Direction.REVERSE)
        wait_until(waits_for(idle))
        application.execute("""UPDATE "Project" SET name = 'renamed' WHERE id = 'p1'""")
        wait_until(lambda: count("Project", """"factsJson" = '["new"]'""") == 4)
        wait_until(waits_for(idle))
        application.execute("""UPDATE "Project" SET name = 'renamed' WHERE id = 'p5'""")
        idle.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.written, outcome.counts.failures) == (5, [])
    assert count("Project", "name = 'renamed'") == 2


def test_reverse_does_not_overwrite_a_change_that_comes_in_between(projects: None) -> None:
    forward()
    save_in_agentkit(facts=["AgentKit's"])
    with second_connection() as other:
        begin(other, """UPDATE "Project" SET "factsJson" = '["legacy''s"]' WHERE id = 'p3'""")
        under_way = Under(Direction.REVERSE)
        wait_until(waits_for(other))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.written, outcome.counts.failures) == (4, [])
    assert outcome.forked == (1, ["p3"])
    assert scalar("""SELECT "factsJson" FROM "Project" WHERE id = 'p3'""") == '["legacy\'s"]'
    assert verify().standing == {"empty": 0, "legacy_ahead": 0, "in_sync": 4, "agentkit_ahead": 0, "forked": 1}


def test_reverse_takes_a_save_that_comes_in_between(projects: None) -> None:
    forward()
    save_in_agentkit(facts=["first"])
    with second_connection() as other:
        # A save holds the project's lock, and writes the AgentKit home only.
        begin(
            other,
            """SELECT FROM "Project" WHERE id = 'p3' FOR NO KEY UPDATE""",
            """INSERT INTO "AgentWorkflowRun"
                        (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
                    SELECT 'later', workflow_id, project_id, status, '{"state": {"facts": ["second"]}}', started_at,
                           snapshot_at + interval '1 s', legacy_at
                    FROM "AgentWorkflowRun" WHERE project_id = 'p3' AND workflow_id = 'intake'""",
        )
        under_way = Under(Direction.REVERSE)
        wait_until(waits_for(other))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.written, outcome.counts.failures) == (5, [])
    assert scalar("""SELECT "factsJson" FROM "Project" WHERE id = 'p3'""") == '["second"]'
    assert verify().clean


def test_a_fork_whose_columns_change_before_it_is_locked_is_merged_as_it_is_then(projects: None) -> None:
    forward()
    make_fork("p3", legacy={"coverage": {"score": 0.1}}, agentkit={"eligibility": ["AgentKit's"]})
    with second_connection() as other:
        begin(other, """UPDATE "Project" SET "coverageJson" = '{"score": 0.2}' WHERE id = 'p3'""")
        under_way = Under(Direction.FORWARD)
        wait_until(waits_for(other))
        other.execute("COMMIT")
        outcome = under_way.end()

    assert (outcome.counts.merged, outcome.counts.failures) == (1, [])
    assert (
        scalar("""SELECT (result -> 'state') - 'facts' FROM "AgentWorkflowRun" WHERE workflow_id = 'legacy_merge'""")
        == '{"coverage": {"score": 0.2}, "eligibility": ["AgentKit\'s"]}'
    )


def test_a_change_during_forward_waits_for_the_next_pass(projects: None) -> None:
    with second_connection() as other:
        begin(other, """UPDATE "Project" SET "factsJson" = '["later"]' WHERE id = 'p3'""")
        assert forward().counts.runs == 5  # waits for nobody
        other.execute("COMMIT")

    assert verify().standing["legacy_ahead"] == 1
    assert forward().counts.runs == 1
    assert verify().clean
    assert count("AgentWorkflowRun", "project_id = 'p3'") == 2


def test_a_server_that_stops_during_a_pass_ends_it_with_an_error(projects: None) -> None:
    with second_connection() as other:
        begin(other, 'LOCK TABLE "AgentWorkflowRunEvent" IN SHARE MODE')
        command = Command(FORWARD, "--batch-size", "2", "--verbosity", "0", patient=True)
        wait_until(waits_for(other))
        terminate_what_waits_for(other)
        assert command.end() == 1
        other.execute("ROLLBACK")

    assert command.stdout == ""
    assert command.stderr == (
        "CommandError: The database server failed: terminating connection due to administrator command. Projects "
        "that were moved stay moved. Check the server and DATABASE_URL, then run the command again.\n"
    )
    assert sql("SELECT outcome, error LIKE 'OperationalError: %%' FROM \"AgentStatePass\"") == [("failed", True)]
    forward()
    assert verify().clean


def test_a_worker_that_loses_its_connection_ends_the_pass_with_an_error(projects: None) -> None:
    forward()
    save_in_agentkit(facts=["new"])
    with second_connection() as other:
        begin(other, """SELECT FROM "Project" WHERE id = 'p5' FOR UPDATE""")
        command = Command(REVERSE, "--batch-size", "1", "--workers", "2", "--verbosity", "0", patient=True)
        wait_until(waits_for(other))
        terminate_what_waits_for(other)
        assert command.end() == 1
        other.execute("ROLLBACK")

    assert command.stderr.startswith("CommandError: The database server failed: terminating connection")
    change_columns("p1", facts=["once more"])
    reverse()
    assert scalar("""SELECT "factsJson" FROM "Project" WHERE id = 'p5'""") == '["new"]'


def test_a_lost_advisory_lock_connection_ends_the_pass(projects: None) -> None:
    with second_connection() as other:
        begin(other, 'LOCK TABLE "AgentWorkflowRunEvent" IN SHARE MODE')
        command = Command(FORWARD, "--batch-size", "1", "--workers", "2", "--verbosity", "0", patient=True)
        wait_until(waits_for(other, connections=2))
        assert sql(
            """
            SELECT pg_terminate_backend(pid, 60000) FROM pg_locks JOIN pg_database ON pg_database.oid = database
            WHERE datname = current_database() AND locktype = 'advisory' AND classid = %s
            """,
            PASSES,
        ) == [(True,)]
        other.execute("COMMIT")
        assert command.end() == 1

    assert command.stderr.startswith("CommandError: The database server failed: ")
    assert command.stderr.count("\n") == 1
    forward()
    assert verify().clean
    assert sql('SELECT outcome FROM "AgentStatePass" ORDER BY id')[-1] == ("finished",)
