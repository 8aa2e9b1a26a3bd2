"""A pass that several workers of a task queue share: real workers of django-tasks-db, one of them killed."""

from __future__ import annotations

import random
import string
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection

from agentstate.backfill import Pacing, PassOptions, fleet, run_pass
from agentstate.backfill.expectation import Expectation
from agentstate.backfill.outcome import Outcome
from agentstate.backfill.verification import verify
from agentstate.models import BackfillPass, PassRange
from agentstate.models.passes import Direction
from tests.factories import ProjectFactory
from tests.faults.processes import FORWARD, Command, wait_until
from tests.management.commands import call
from tests.scenes import make_samples
from tests.sql import count, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)
# The index of the legacy table takes it, that of the runs, which are named after their project, does not.
TOO_LONG = "z" + "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=2689))
QUEUE = {"AGENTSTATE_TASKS_BACKEND": "django_tasks_db.DatabaseBackend"}


@pytest.fixture
def queue() -> Iterator[None]:
    migrated = Command("migrate", "django_tasks_database", "-v0", environment=QUEUE)
    assert migrated.end(120) == 0, migrated.stderr
    yield
    sql("DROP TABLE IF EXISTS django_tasks_database_dbtaskresult")
    sql("DELETE FROM django_migrations WHERE app = 'django_tasks_database'")
    ContentType.objects.filter(app_label="django_tasks_database").delete()


def enqueue(*arguments: str) -> Any:
    command = Command(FORWARD, "--enqueue", "--range-size", "5", *arguments, environment=QUEUE)
    assert command.end(120) == 0, command.stderr
    return BackfillPass.objects.with_state().latest("pk")


def worker(name: str = "worker") -> Command:
    return Command("db_worker", "--batch", "--no-startup-delay", environment={**QUEUE, "PGAPPNAME": name})


def state_of(entry: BackfillPass) -> str:
    return str(BackfillPass.objects.with_state().get(pk=entry.pk).state)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("queue")
def test_workers_share_a_pass_and_the_range_of_a_killed_one_is_moved_too() -> None:
    make_samples(40)
    entry = enqueue()
    planned = entry.candidates
    assert (entry.state, entry.ranges.count()) == ("waiting", 8)
    with second_connection() as other:
        other.execute("BEGIN")
        other.execute('LOCK TABLE "AgentWorkflowRun" IN SHARE MODE')
        workers = [worker(name) for name in ("first", "second", "third")]
        wait_until(lambda: PassRange.objects.shares(entry).workers == 3, seconds=120)
        assert state_of(entry) == "running"
        assert "0 of 8 ranges, 3 workers" in call("agentkit_pass", "list").stdout
        workers[0].kill()
        # The server notices it before the other workers have ended all other ranges.
        sql(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'first'"
        )
        other.execute("ROLLBACK")
    for each in workers[1:]:
        assert each.end(120) == 0, each.stderr

    entry.refresh_from_db()
    assert PassRange.objects.shares(entry) == (8, 8, 0, 0)
    assert (state_of(entry), entry.ended_at is not None) == ("finished", True)
    assert max(PassRange.objects.values_list("attempts", flat=True)) == 2
    assert verify().clean
    assert run_pass(PassOptions(Direction.FORWARD)).candidates == 0
    assert entry.candidates == planned == count("AgentWorkflowRun")
    # The killed worker may not have reported its last batch.
    assert 0 <= count("AgentWorkflowRun") - entry.runs <= 5


def test_workers_that_end_the_last_ranges_at_once_end_the_pass() -> None:
    make_samples(10)
    entry = fleet.begin(PassOptions(Direction.FORWARD), 5)
    # Each commit takes a while, so that neither worker sees the other's range as done yet.
    sql(
        """
        CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.status = 'done' THEN PERFORM pg_sleep(1); END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON "AgentStatePassRange"
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit()
        """
    )
    try:
        threads = [threading.Thread(target=_work, args=[part.pk]) for part in entry.ranges.all()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sql("DROP FUNCTION slow_commit CASCADE")
    assert PassRange.objects.shares(entry) == (2, 2, 0, 0)
    assert state_of(entry) == "finished"


def _work(range_id: int) -> None:
    try:
        fleet.work(range_id, [].append)
    finally:
        connection.close()


@pytest.mark.usefixtures("queue")
def test_pausing_and_canceling_hold_for_all_workers() -> None:
    make_samples(20)
    entry = enqueue()
    call_command("agentkit_pass", "pause", str(entry.pk), "--by", "ada", verbosity=0)
    assert worker().end(120) == 0
    assert (state_of(entry), count("AgentWorkflowRun")) == ("paused", 0)

    resumed = Command("agentkit_pass", "resume", str(entry.pk), environment=QUEUE)
    assert resumed.end(120) == 0, resumed.stderr
    call_command("agentkit_pass", "cancel", str(entry.pk), "--by", "ada", verbosity=0)
    assert worker().end(120) == 0
    assert (state_of(entry), count("AgentWorkflowRun")) == ("canceled", 0)


def test_ranges_are_idempotent_and_need_no_order() -> None:
    make_samples(20)
    entry = fleet.begin(PassOptions(Direction.FORWARD, batch_size=3), 6)
    ranges = list(entry.ranges.order_by("-number").values_list("pk", flat=True))
    again: list[int] = []
    ended = [fleet.work(pk, again.append) for pk in (*ranges, *ranges)]
    assert (ended[len(ranges) :], again) == (["done before"] * len(ranges), [])
    entry.refresh_from_db()
    assert (entry.outcome, entry.written) == ("finished", entry.candidates)
    assert sum(PassRange.objects.values_list("written", flat=True)) == entry.written
    assert verify().clean

    expected = Expectation.recorded(entry.expected)
    assert expected is not None
    assert expected.projects == entry.candidates
    assert (expected.grown is None, expected.took is None) == (False, False)
    lines = call("agentkit_pass", "list").lines[-2:]
    assert lines[0].startswith(f"Pass {entry.pk}: Expects {expected.projects} projects, about ")
    assert lines[0].endswith(" of work, which its workers share.")
    outcome = f"projects {entry.written} of {expected.projects}, runs {entry.runs} of {expected.runs}, "
    assert lines[1].startswith(f"Pass {entry.pk}: Outcome of what was expected: {outcome}")


def test_a_worker_rests_after_the_last_batch_of_a_range_too() -> None:
    make_samples(5)
    (part,) = fleet.begin(PassOptions(Direction.FORWARD, pacing=Pacing(sleep_ratio=2)), 10).ranges.all()
    fleet.work(part.pk, [].append)
    entry = BackfillPass.objects.get()
    assert (entry.outcome, entry.throttled_seconds > 0) == ("finished", True)


def test_a_range_that_is_delivered_twice_at_once_stays_done() -> None:
    make_samples(4)
    part = fleet.begin(PassOptions(Direction.FORWARD), 10).ranges.select_related("entry").get()
    slow = fleet._RangeEntry(part, Outcome(), threading.Event())

    def fail(after: str) -> None:
        raise ConnectionError(after)

    with pytest.raises(ConnectionError), fleet._at_work(part, slow):
        fail(after=fleet.work(part.pk, [].append))
    part.refresh_from_db()
    assert (part.status, BackfillPass.objects.get().outcome) == ("done", "finished")


def test_a_repeated_range_counts_its_projects_once_and_all_its_work() -> None:
    make_samples(4)
    ProjectFactory(id=TOO_LONG, documents={"facts": "1"})
    entry = fleet.begin(PassOptions(Direction.FORWARD), 4)
    first, second = entry.ranges.order_by("number").values_list("pk", flat=True)
    fleet.work(second, [].append)
    # As if its worker had died after an hour of work, before it recorded the range as done.
    sql(
        """
        UPDATE "AgentStatePassRange" SET status = 'waiting', started_at = seen_at - interval '1 hour' WHERE id = %s
        """,
        second,
    )
    fleet.work(second, [].append)
    fleet.work(first, [].append)

    entry.refresh_from_db()
    assert (entry.outcome, entry.left_aside, entry.written) == ("finished", 1, entry.candidates - 1)
    expected = Expectation.recorded(entry.expected)
    assert expected is not None
    assert expected.took is not None
    assert expected.took > 3000


def test_a_report_that_waited_for_the_heartbeat_s_adds_nothing_twice() -> None:
    make_samples(4)
    entry = fleet.begin(PassOptions(Direction.FORWARD), 10)
    part, outcome = entry.ranges.select_related("entry").get(), Outcome()
    report = fleet._RangeEntry(part, outcome, threading.Event())

    class Heartbeat:
        """Reports while the other report waits."""

        def __enter__(self) -> None:
            report._writing = threading.Lock()
            report.report()

        def __exit__(self, *_: object) -> None: ...

    report._writing = Heartbeat()  # type: ignore[assignment]
    outcome.counts.written = 3
    report.report()
    entry.refresh_from_db()
    assert entry.written == 3


def test_a_failed_range_is_listed_with_its_worker_and_its_error() -> None:
    make_samples(4)
    entry = fleet.begin(PassOptions(Direction.FORWARD), 10)
    part = entry.ranges.select_related("entry").get()
    with (
        pytest.raises(ConnectionError),
        fleet._at_work(part, fleet._RangeEntry(part, Outcome(), threading.Event())),
    ):
        raise ConnectionError("the network\nis gone")
    part.refresh_from_db()
    failed = f"Pass {entry.pk}, range 1: failed after 1 attempt, the last by {part.worker}"
    assert call("agentkit_pass", "list").lines[-2:] == [
        f"{failed}: ConnectionError: the network is gone",
        f"Run manage.py agentkit_pass resume {entry.pk} to queue failed and lost ranges again.",
    ]
    fleet.work(part.pk, [].append)
    assert "failed" not in call("agentkit_pass", "list").stdout


def test_it_ends_at_once_without_projects_and_refuses_a_selection() -> None:
    assert fleet.begin(PassOptions(Direction.FORWARD), 10).pk
    assert BackfillPass.objects.get().outcome == "finished"
    with pytest.raises(CommandError, match="--enqueue is for all projects"):
        call_command(FORWARD, "--enqueue", "--limit", "5")
