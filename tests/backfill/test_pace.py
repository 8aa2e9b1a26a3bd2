"""Batches adapt to a target time, and a pass gives way to the work of others."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.backfill import Outcome, Pacing, PassOptions, Progress, fleet, run_pass
from agentstate.backfill.batch import Batch
from agentstate.backfill.others import ReplicasHidden
from agentstate.backfill.pace import FIRST_BATCH, BatchSize, Estimate, Throttle, Uncontrolled
from agentstate.models import BackfillPass
from agentstate.models.passes import Direction
from tests.faults.processes import wait_until, waits_for
from tests.scenes import make_project
from tests.sql import count, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEBIBYTE = 2**20


def test_batches_grow_slowly_while_they_are_quick_and_halve_at_once() -> None:
    wanted, sizes = BatchSize(5000, target=1), []
    for seconds in (0.1, 0.1, 0.9, 1.1, 0.1):
        wanted.learn(Batch(None, "p", wanted.size), seconds, target=1)
        sizes.append(wanted.size)
    assert sizes == [626, 783, 783, 391, 489]
    for _ in range(50):
        wanted.learn(Batch(None, "p", wanted.size), 0.1, target=1)
    assert wanted.size == 5000


@pytest.mark.parametrize(
    ("target", "projects", "bytes_"),
    [(30, 500, 16 * MEBIBYTE), (1, 500, 16 * MEBIBYTE), (0.1, 50, 1_677_721), (0.000_000_01, 1, 1)],
)
def test_the_first_batch_is_small_where_the_target_is(target: float, projects: int, bytes_: int) -> None:
    first = BatchSize(5000, target)
    assert (first.size, first.weight) == (projects, bytes_)
    assert BatchSize(7, target).size == min(7, projects)


def test_bytes_bound_a_batch_as_its_count_does() -> None:
    wanted = BatchSize(5000, target=1)
    heavy = Batch(None, "p", 100, 50 * MEBIBYTE)
    assert not wanted.has_room_for(heavy)
    assert wanted.part_of(heavy) == 32
    wanted.learn(Batch(None, "p", 32, 16 * MEBIBYTE), 0.1, target=1)
    assert (wanted.size, wanted.weight // MEBIBYTE) == (FIRST_BATCH, 20)
    wanted.learn(Batch(None, "p", 40, 20 * MEBIBYTE), 2, target=1)
    assert (wanted.size, wanted.weight // MEBIBYTE) == (20, 10)
    for _ in range(40):
        wanted.halve(Batch(None, "p", wanted.size, wanted.weight))
    assert wanted.part_of(heavy) == 1


def test_an_estimate_is_a_range_of_the_latest_batches() -> None:
    estimate = Estimate(workers=2)
    assert estimate.seconds(100) is None
    estimate.learn(10, 1)
    assert estimate.seconds(100) == (5, 5)
    estimate.learn(10, 3)
    low, high = estimate.seconds(100) or (0, 0)
    assert 0 < low < 10 < high
    for _ in range(20):
        estimate.learn(10, 0.1)
    assert estimate.seconds(100) == pytest.approx((0.5, 0.5))


def forward(progress: Callable[[Progress], None] = lambda _: None, **options: Any) -> Outcome:
    return run_pass(PassOptions(Direction.FORWARD, sessions=False, **options), progress=progress)


@pytest.mark.django_db(transaction=True)
class TestPasses:
    @pytest.fixture(autouse=True)
    def projects(self) -> None:
        for number in range(6):
            make_project(f"p{number}", facts=[number])

    @pytest.fixture
    def slow_runs(self) -> Iterator[None]:
        """Let each new run take 30 ms."""
        sql(
            """
            CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END $$;
            CREATE TRIGGER be_slow BEFORE INSERT ON "AgentWorkflowRun" FOR EACH ROW EXECUTE FUNCTION be_slow()
            """
        )
        yield
        sql("DROP FUNCTION be_slow() CASCADE")

    def test_the_first_batch_is_as_small_as_a_short_target_asks_for(self) -> None:
        forward(pacing=Pacing(target_seconds=1e-9))
        sizes = sql('SELECT count(*) FROM "AgentWorkflowRun" GROUP BY xmin::text')
        assert sizes == [(1,)] * 6

    def test_a_batch_that_is_too_slow_halves_the_next_ones(self, slow_runs: None) -> None:
        forward(batch_size=4, pacing=Pacing(target_seconds=0.02))
        first, *others = sql('SELECT count(*) FROM "AgentWorkflowRun" GROUP BY xmin::text ORDER BY min(id)')
        assert first == (4,)
        assert others in ([(2,)], [(1,), (1,)])  # by their number, or by their bytes too

    def test_it_says_why_it_waits_and_counts_the_time_as_long_as_it_waits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agentstate.backfill.pace.LOOK_EVERY", 0.01)
        control, outcome, told = Uncontrolled(held_by="ada"), Outcome(), []

        def report(reason: str) -> None:
            told.append((reason, outcome.throttled))
            if len(told) == 3:
                control.held_by = ""

        throttle = Throttle(control, threading.Event(), outcome, report)
        throttle.connections = 2
        began = time.monotonic()
        assert throttle.admit(0)
        reasons, counted = zip(*told, strict=True)
        assert reasons == ("paused by ada",) * 3 + ("",)
        assert counted[0] == 0 < counted[1] < counted[2] < counted[3] <= (time.monotonic() - began) / 2

    def test_it_sleeps_in_proportion_to_its_work_and_says_so(self) -> None:
        seen: list[Progress] = []
        outcome = forward(seen.append, batch_size=2, pacing=Pacing(sleep_ratio=5))
        assert outcome.counts.written == 6
        assert {each.held for each in seen} == {"", "sleeping 5 s for each second of work"}
        entry = BackfillPass.objects.get()
        assert 0 < entry.throttled_seconds < outcome.seconds
        assert entry.held == ""

    def test_it_waits_for_sessions_that_wait_for_locks_but_not_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agentstate.backfill.pace.LONGEST_WAIT_FOR_LOCKS", 0.5)

        def wait_too() -> None:
            with second_connection() as third:
                third.execute("""UPDATE "Project" SET name = 'mine' WHERE id = 'p0'""")

        seen: list[Progress] = []
        with second_connection() as other:
            other.execute("BEGIN")
            other.execute("""UPDATE "Project" SET name = 'theirs' WHERE id = 'p0'""")
            waiting = threading.Thread(target=wait_too)
            waiting.start()
            wait_until(waits_for(other))
            forward(seen.append, batch_size=3)
            other.execute("ROLLBACK")
        waiting.join()
        assert "sessions that wait for locks on these tables: 1" in {each.held for each in seen}
        assert count("AgentWorkflowRun") == 6

    def test_a_locked_project_is_moved_last_and_stops_nobody(self) -> None:
        with second_connection() as other:
            other.execute("BEGIN")
            other.execute("""SELECT FROM "Project" WHERE id = 'p1' FOR UPDATE""")
            released = []

            def release(progress: Progress) -> None:
                if progress.done == 5 and not released:
                    released.append(count("AgentWorkflowRun"))
                    other.execute("ROLLBACK")

            outcome = forward(release, batch_size=6)
        assert released == [5]
        assert (outcome.counts.written, outcome.left_aside) == (6, 0)

    def test_a_statement_that_exceeds_its_time_limit_is_tried_three_times(self) -> None:
        sql("CREATE SEQUENCE tries")
        sql("""CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF nextval('tries') <= 2 THEN RAISE query_canceled; END IF; RETURN NULL; END $$""")
        sql('CREATE TRIGGER slow AFTER INSERT ON "AgentWorkflowRun" EXECUTE FUNCTION slow()')
        try:
            outcome = forward()
            # All, the half of them, a quarter, which succeeds, and the rest.
            assert sql("SELECT last_value FROM tries")[0][0] >= 4
        finally:
            sql("DROP FUNCTION slow CASCADE")
            sql("DROP SEQUENCE tries")
        assert (outcome.counts.written, outcome.left_aside) == (6, 0)
        assert sql('SELECT count(*) FROM "AgentWorkflowRun" GROUP BY xmin::text ORDER BY min(id) LIMIT 1') == [(1,)]

    @pytest.mark.parametrize("is_shared", [False, True])
    def test_statistics_that_cannot_be_updated_in_time_are_left_to_autovacuum(
        self, is_shared: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agentstate.backfill.pass_runner.MANY_ROWS", 1)
        # It would lock the pass's entry, for which the pass waits no longer either.
        monkeypatch.setattr("agentstate.backfill.ledger.heartbeat", lambda entry: nullcontext())
        sql("SET lock_timeout = '50ms'")
        try:
            with second_connection() as other:
                other.execute("BEGIN")
                other.execute('LOCK TABLE "AgentWorkflowRun" IN SHARE UPDATE EXCLUSIVE MODE')  # as a VACUUM does
                if is_shared:
                    (part,) = fleet.begin(PassOptions(Direction.FORWARD, sessions=False), 10).ranges.all()
                    fleet.work(part.pk, [].append)
                else:
                    forward()
        finally:
            sql("RESET lock_timeout")
        entry = BackfillPass.objects.get()
        assert (entry.outcome, entry.error, entry.written) == ("finished", "", 6)

    def test_a_role_that_sees_no_replicas_is_refused(self) -> None:
        sql("CREATE ROLE blind")
        try:
            sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO blind")
            sql("SET ROLE blind")
            with pytest.raises(ReplicasHidden, match="GRANT pg_read_all_stats"):
                forward(pacing=Pacing(max_lag=1))
        finally:
            sql("RESET ROLE")
            sql("DROP OWNED BY blind")
            sql("DROP ROLE blind")
        assert not connection.needs_rollback
        assert not BackfillPass.objects.exists()
