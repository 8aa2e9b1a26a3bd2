"""Reads of both homes are counted, and never wait for that."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate import state
from agentstate.backfill.acceptance import accept
from agentstate.models import LeftAside, ReadCount, ReadDifference
from agentstate.state.read_counts import SAMPLES, SECONDS, Counting, ReadCounts
from agentstate.state.shadowing import DocumentDifference, Reading, readings_made
from tests import scenes
from tests.factories import ProjectFactory, write_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def counts() -> Iterator[ReadCounts]:
    """Counts that are in the tables when they are flushed, and not by themselves."""
    counts = ReadCounts()
    readings_made.connect(counts.note)
    yield counts
    readings_made.disconnect(counts.note)


def counted() -> dict[tuple[str, str], int]:
    """Return the counts of all hours, since a test may run into the next one."""
    sums = ReadCount.objects.values_list("finding", "reason").annotate(sum=Sum("count"))
    return {(finding, reason): count for finding, reason, count in sums}


def project_in_sync(**documents: str) -> str:
    project = ProjectFactory(documents=documents or {"facts": "1"}).id
    scenes.forward(project, sessions=False)
    return project


def shadow(*, agentkit_reads: bool = False) -> None:
    scenes.open_gates(agentkit_shadow_reads=True, agentkit_reads=agentkit_reads)


@contextmanager
def without(table: str) -> Iterator[None]:
    scenes.run_sql(f'ALTER TABLE "{table}" RENAME TO "Gone"')
    try:
        yield
    finally:
        scenes.run_sql(f'ALTER TABLE "Gone" RENAME TO "{table}"')


# -- what is counted


@pytest.mark.usefixtures("lasting_flags")
@pytest.mark.parametrize("agentkit_reads", [False, True])
def test_homes_in_sync_are_compared_in_the_query_of_the_read(
    counts: ReadCounts, agentkit_reads: bool, django_assert_num_queries: object
) -> None:
    project = project_in_sync(facts='{"a": 0.10}', coverage="null")
    shadow(agentkit_reads=agentkit_reads)
    state.load(project)  # the flags are known now

    with django_assert_num_queries(1):  # type: ignore[operator]
        loaded = state.load(project)

    counts.flush()
    assert loaded.source == ("agentkit" if agentkit_reads else "legacy")
    assert counted() == {("compared", ""): 2}


def test_a_difference_is_counted_with_a_sample(counts: ReadCounts) -> None:
    project = project_in_sync(coverage='{"requirements": [{"status": "missing"}, {"status": "missing"}]}', facts="[1]")
    scenes.damage(project, coverage='{"requirements": [{"status": "missing"}, {"status": "drafted"}]}', rfpNorm="0.10")
    shadow()

    state.load(project)
    counts.flush()

    assert counted() == {("compared", ""): 1, ("difference", "coverage"): 1, ("difference", "rfpNorm"): 1}
    samples = ReadDifference.objects.order_by("state_key").values_list(
        "project_id", "state_key", "path", "legacy", "agentkit"
    )
    assert list(samples) == [
        (project, "coverage", "coverage.requirements[1].status", '"drafted"', '"missing"'),
        (project, "rfpNorm", "rfpNorm", "0.10", None),
    ]


def test_long_values_are_cut(counts: ReadCounts) -> None:
    project = project_in_sync(facts=f'"{"x" * 5_000_000}"')
    scenes.damage(project, facts='"y"')
    shadow()

    state.load(project)
    counts.flush()

    sample = ReadDifference.objects.get()
    assert (len(sample.agentkit or ""), sample.legacy) == (256, '"y"')


@pytest.mark.parametrize("agentkit_reads", [False, True])
@pytest.mark.parametrize(
    ("standing", "reason"),
    [("agentkit_ahead", "agentkit_ahead"), ("legacy_ahead", "legacy_ahead"), ("forked", "forked")],
)
def test_homes_out_of_sync_count_as_a_lag(
    counts: ReadCounts, standing: str, reason: str, agentkit_reads: bool
) -> None:
    project = project_in_sync()
    if standing != "legacy_ahead":
        scenes.save(project, "facts", "2", legacy=False)
    if standing != "agentkit_ahead":
        write_columns(project, {"coverage": "3"})
    assert scenes.standing_of(project) == standing
    shadow(agentkit_reads=agentkit_reads)

    state.load(project)
    counts.flush()

    fell_back = {("fallback", "legacy_ahead"): 1} if agentkit_reads and standing == "legacy_ahead" else {}
    assert counted() == {("lag", reason): 1, **fell_back}


def test_a_project_without_a_snapshot_is_a_lag_and_an_empty_one_is_not(counts: ReadCounts) -> None:
    shadow(agentkit_reads=True)

    state.load(ProjectFactory(documents={"facts": "1"}).id)
    state.load(ProjectFactory().id)
    counts.flush()

    assert counted() == {("lag", "no_snapshot"): 1, ("fallback", "no_snapshot"): 1}


def test_fallbacks_are_counted_without_shadow_reads(counts: ReadCounts) -> None:
    scenes.open_gates(agentkit_reads=True, agentkit_shadow_reads=False)
    behind, in_sync = project_in_sync(), project_in_sync()
    write_columns(behind, {"facts": "2"})

    state.load_many([behind, in_sync])
    counts.flush()

    assert counted() == {("fallback", "legacy_ahead"): 1}


def test_a_fallback_of_an_accepted_project_is_counted_apart(counts: ReadCounts) -> None:
    scenes.open_gates(agentkit_reads=True)
    behind, given_up = project_in_sync(), project_in_sync()
    for project in (behind, given_up):
        write_columns(project, {"facts": "2"})
    entry = LeftAside.objects.create(
        project_id=given_up, direction="forward", error_class="E", error="e", first_seen_at=Now(), last_seen_at=Now()
    )
    accept(entry, "Not wanted any more")

    for _ in range(3):
        state.load_many([behind, given_up])
    counts.flush()
    write_columns(given_up, {"facts": "3"})
    state.load(given_up)
    counts.flush()

    assert counted() == {("fallback", "legacy_ahead"): 4, ("fallback", "given_up"): 3}


def test_a_read_that_is_no_evidence_is_not_counted(counts: ReadCounts) -> None:
    shadow(agentkit_reads=True)
    behind, in_sync = project_in_sync(), project_in_sync()
    write_columns(behind, {"facts": "2"})

    assert state.load(behind, counts=False).fell_back == "legacy_ahead"
    state.load_many([behind, in_sync], counts=False)
    counts.flush()

    assert counted() == {}


def test_viewing_a_projects_page_is_no_evidence(counts: ReadCounts) -> None:
    shadow(agentkit_reads=True)
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))

    assert client.get(url_of("admin:agentstate_project_change", args=[project_in_sync()])).status_code == 200
    counts.flush()

    assert counted() == {}


def test_a_read_that_the_database_refused_is_counted(counts: ReadCounts) -> None:
    project = project_in_sync()
    shadow(agentkit_reads=True)

    with without("AgentWorkflowRun"):
        assert state.load(project).fell_back == "error"
    counts.flush()

    assert counted() == {("fallback", "error"): 1, ("lag", "error"): 1}


def test_nothing_is_counted_with_the_gate_closed(counts: ReadCounts) -> None:
    scenes.open_gates(agentkit_reads=False, agentkit_shadow_reads=False)

    state.load(project_in_sync())
    counts.flush()

    assert counted() == {}


# -- how it is kept


def reading(project: str = "p", **found: object) -> Reading:
    return Reading(project, **found)  # type: ignore[arg-type]


def test_counts_of_processes_add_up_by_the_hour() -> None:
    began = timezone.now()
    for _ in range(2):
        counts = ReadCounts()
        counts.note([reading(lag="forked"), reading(lag="forked"), reading(fell_back="error")])
        counts.flush()
    hours = set(ReadCount.objects.values_list("hour", flat=True))
    assert hours <= {hour_of(began), hour_of(timezone.now())}  # two if a new one begins here
    assert counted() == {("fallback", "error"): 2, ("lag", "forked"): 4}

    ReadCount.objects.all().delete()
    scenes.run_sql("""
        INSERT INTO "AgentStateReadCount" (hour, finding, reason, count)
        SELECT date_trunc('hour', clock_timestamp(), 'UTC') + n * interval '1 hour', 'lag', 'forked', 4
        FROM generate_series(-1, 1) n""")
    counts.note([reading(lag="forked")])
    counts.flush()

    assert sorted(ReadCount.objects.values_list("count", flat=True)) == [4, 4, 5], "one hour's, whichever it is now"


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def test_the_last_hundred_samples_of_a_state_key_stay(counts: ReadCounts) -> None:
    def differing(key: str, number: int) -> Reading:
        return reading(differences=(DocumentDifference(key, f"{key}[{number}]", "1", "2"),))

    counts.note([differing("coverage", 0)])
    for number in range(SAMPLES + 50):
        counts.note([differing("facts", number)])
    counts.flush()
    counts.note([differing("facts", SAMPLES + 50)])
    counts.flush()

    assert counted()["difference", "facts"] == SAMPLES + 51
    assert ReadDifference.objects.filter(state_key="coverage").count() == 1
    kept = ReadDifference.objects.filter(state_key="facts").order_by("id").values_list("path", flat=True)
    assert list(kept) == [f"facts[{number}]" for number in range(51, SAMPLES + 51)]


def test_counts_that_cannot_be_written_now_are_written_later(
    counts: ReadCounts, caplog: pytest.LogCaptureFixture
) -> None:
    project = project_in_sync()
    shadow()
    with without("AgentStateReadCount"):
        for _ in range(3):
            state.load(project)
            counts.flush()
    state.load(project)
    counts.flush()

    assert counted() == {("compared", ""): 4}
    assert len([record for record in caplog.records if "cannot be written for now" in record.message]) == 1


def test_a_failing_count_does_not_fail_the_read() -> None:
    def refuse(**kwargs: object) -> None:
        raise RuntimeError("no")

    project = project_in_sync()
    shadow()
    readings_made.connect(refuse)
    try:
        assert state.load(project).facts == 1
    finally:
        readings_made.disconnect(refuse)


# -- by itself


@pytest.fixture
def counting() -> Iterator[None]:
    """Let a thread write the counts, until the test is over."""
    counting = Counting()
    readings_made.connect(counting.note)
    yield
    readings_made.disconnect(counting.note)
    counting.stop()


def wait_for(findings: dict[tuple[str, str], int]) -> None:
    give_up_at = time.monotonic() + 60
    while counted() != findings:
        assert time.monotonic() < give_up_at, counted()
        time.sleep(0.05)


def test_counts_survive_a_rollback_of_the_readers_transaction(counting: None) -> None:
    project = project_in_sync()
    shadow()

    began = time.monotonic()
    with transaction.atomic():
        state.load(project)
        transaction.set_rollback(True)
    wait_for({("compared", ""): 1})
    assert time.monotonic() - began > SECONDS / 2
    for _ in range(5):
        state.load(project)
    wait_for({("compared", ""): 6})


def test_many_threads_lose_no_count(counting: None) -> None:
    project = project_in_sync()
    shadow()

    def read() -> None:
        for _ in range(20):
            state.load(project)
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for({("compared", ""): 160})
