"""Each pass is in the ledger, with what it was asked, by whom, what it did, and how it ended."""

from __future__ import annotations

import getpass
import socket
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from agentstate.backfill import PassOptions, Progress, Selection, UnknownProjects, run_pass
from agentstate.models import BackfillPass
from agentstate.models.passes import Direction
from tests.backfill.conftest import UNHURRIED
from tests.scenes import make_fork, make_project, save_in_agentkit
from tests.sql import count, sql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def projects() -> None:
    for number in range(4):
        make_project(f"p{number}", facts=[number], conflictLog=[1, 2], chat=[{"role": "user", "content": "Hello"}])


def run(direction: Direction = Direction.FORWARD, **options: Any) -> BackfillPass:
    run_pass(PassOptions(direction, **options))
    return BackfillPass.objects.latest("id")


def test_a_finished_pass_is_recorded() -> None:
    before = timezone.now()
    entry = run()

    assert (entry.direction, entry.outcome, entry.error) == ("forward", "finished", "")
    assert entry.requested_by == f"{getpass.getuser()}@{socket.gethostname()}"
    counted = ("candidates", "written", "merged", "left_aside", "runs", "events", "sessions")
    assert [getattr(entry, name) for name in counted] == [4, 4, 0, 0, 4, 12, 4]
    assert entry.ended_at is not None
    moments = [before - timedelta(seconds=1), entry.started_at, entry.ended_at, timezone.now() + timedelta(seconds=1)]
    assert moments == sorted(moments)


def test_its_options_are_recorded() -> None:
    assert run(batch_size=7, workers=2, selection=Selection(("p1", "p2"), 5), prefer="legacy").options == {
        "direction": "forward",
        "selection": {"projects": ["p1", "p2"], "limit": 5},
        "dry_run": False,
        "batch_size": 7,
        "workers": 2,
        "sessions": True,
        "prefer": "legacy",
        "force": False,
        "as_of": None,
        "pacing": {"target_seconds": 1.0, "sleep_ratio": 0.0, "max_lag": None},
    }
    entry = run(Direction.REVERSE, force=True, as_of=datetime(2025, 10, 7, 17, 55, tzinfo=UTC))
    assert (entry.direction, entry.options["force"], entry.options["as_of"]) == (
        "reverse",
        True,
        "2025-10-07T17:55:00+00:00",
    )


def test_merges_and_reverse_passes_are_counted() -> None:
    run()
    make_fork("p1", legacy={"coverage": 1}, agentkit={"facts": []})
    entry = run()
    # The columns that were merged are kept as a snapshot of their own.
    assert (entry.candidates, entry.written, entry.merged, entry.runs) == (1, 0, 1, 2)

    save_in_agentkit("project_id = 'p2'", facts=[])
    entry = run(Direction.REVERSE)
    assert (entry.direction, entry.candidates, entry.written, entry.runs, entry.sessions) == ("reverse", 2, 2, 0, 0)


def test_a_second_pass_is_an_entry_of_its_own() -> None:
    first, second = run(), run()
    assert first.id != second.id
    assert (second.outcome, second.candidates, second.written) == ("finished", 0, 0)


def test_an_interrupted_pass_is_recorded() -> None:
    stop = threading.Event()
    run_pass(
        PassOptions(Direction.FORWARD, batch_size=1),
        stop=stop,
        progress=lambda progress: stop.set() if progress.done else None,
    )
    entry = BackfillPass.objects.get()
    assert (entry.outcome, entry.candidates, entry.written, entry.error) == ("interrupted", 4, 1, "")
    assert entry.ended_at


def test_a_failed_pass_is_recorded() -> None:
    sql("""CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           RAISE EXCEPTION 'disk is full' USING ERRCODE = '53100'; END $$""")
    sql('CREATE TRIGGER full_disk BEFORE INSERT ON "AgentSession" FOR EACH ROW EXECUTE FUNCTION full_disk()')
    try:
        with pytest.raises(DatabaseError, match="disk is full"):
            run()
    finally:
        sql("DROP FUNCTION full_disk CASCADE")
    entry = BackfillPass.objects.get()
    assert (entry.outcome, entry.written, entry.sessions) == ("failed", 4, 0)
    assert entry.error.startswith("OperationalError: disk is full")
    assert entry.ended_at


def test_a_dead_pass_is_marked_lost_by_the_next_one() -> None:
    """test_kill.py and test_side_by_side.py kill real ones."""
    run()
    sql("""UPDATE "AgentStatePass" SET outcome = 'running', ended_at = NULL""")
    run(Direction.REVERSE)
    killed = BackfillPass.objects.earliest("id")
    assert (killed.outcome, killed.ended_at) == ("lost", killed.seen_at)


def test_counts_are_written_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentstate.backfill.ledger.REPORT_EVERY", 0)
    monkeypatch.setattr("agentstate.backfill.ledger.heartbeat", lambda entry: nullcontext())  # it would report as well
    seen = []

    def look(progress: Progress) -> None:
        if progress.step == "projects":
            seen.extend(BackfillPass.objects.values_list("outcome", "candidates", "written"))

    run_pass(PassOptions(Direction.FORWARD, batch_size=2, pacing=UNHURRIED), progress=look)
    assert seen == [("running", 0, 0), ("running", 4, 2), ("running", 4, 4)]


@pytest.mark.parametrize("direction", Direction)
def test_a_dry_run_is_not_recorded(direction: Direction) -> None:
    run_pass(PassOptions(direction, dry_run=True))
    run_pass(PassOptions(direction, dry_run=True, workers=2, batch_size=1))
    assert count("AgentStatePass") == 0


def test_a_pass_that_could_not_start_is_not_recorded() -> None:
    with pytest.raises(UnknownProjects):
        run(selection=Selection(("nobody",)))
    assert count("AgentStatePass") == 0


def test_the_rate_of_a_shared_pass_is_that_of_all_its_workers() -> None:
    now = timezone.now()
    entry = BackfillPass.objects.create(
        direction="forward", started_at=now - timedelta(hours=1), seen_at=now, written=600, throttled_seconds=5000
    )
    for number in (1, 2):
        entry.ranges.create(number=number, up_to=f"p{number}", started_at=now - timedelta(minutes=number))
    assert entry.rate == 5
