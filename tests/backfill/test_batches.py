"""Batches: what is selected, planned, split and repeated."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from agentstate.backfill import Outcome, PassOptions, Progress, Selection, UnknownProjects, run_pass
from agentstate.backfill.batch import Batch
from agentstate.backfill.forward import TakeIn
from agentstate.backfill.planning import plan
from agentstate.backfill.settle import Settle
from agentstate.models import LeftAside
from agentstate.models.passes import Direction
from tests.backfill.conftest import UNHURRIED
from tests.scenes import change_columns, make_fork, make_project, save_in_agentkit
from tests.sql import count, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


def forward(*projects: str, limit: int | None = None, **options: Any) -> Outcome:
    stop, progress = options.pop("stop", None), options.pop("progress", lambda _: None)
    return run_pass(
        PassOptions(Direction.FORWARD, selection=Selection(projects, limit), pacing=UNHURRIED, **options),
        stop=stop,
        progress=progress,
    )


def moved() -> list[str]:
    return [project for (project,) in sql('SELECT project_id FROM "AgentWorkflowRun" ORDER BY project_id')]


@pytest.fixture
def projects() -> list[str]:
    names = [f"p{number:02}" for number in range(1, 21)]
    for name in names:
        make_project(name, facts=[name])
    return names


@contextmanager
def raising_for(*projects: str, code: str) -> Iterator[None]:
    """Let the database refuse the runs of some projects."""
    sql(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.project_id = ANY ('{{{",".join(projects)}}}') THEN
                RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    sql('CREATE TRIGGER refuse BEFORE INSERT ON "AgentWorkflowRun" FOR EACH ROW EXECUTE FUNCTION refuse()')
    try:
        yield
    finally:
        sql("DROP FUNCTION refuse CASCADE")


def test_the_plan_cuts_the_candidates_of_each_step_in_one_query(projects: list[str]) -> None:
    forward("p03", "p07")
    make_fork("p03", legacy={"coverage": 1}, agentkit={"facts": []})
    options = PassOptions(Direction.FORWARD, batch_size=8)
    with CaptureQueriesContext(connection) as queries:
        ahead, forks = plan([TakeIn(options), Settle(options)])

    assert [(each.after, each.upto, each.size) for each in ahead] == [
        (None, "p10", 8),
        ("p10", "p18", 8),
        ("p18", "p20", 2),
    ]
    assert forks == [Batch(None, "p03", 1, forks[0].weight)]
    assert all(each.weight >= each.size for each in ahead + forks)
    assert len([query for query in queries if "Project" in query["sql"]]) == 1


@pytest.mark.parametrize("size", [1, 3, 20, 21])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_project_is_moved_once_whatever_the_batches(projects: list[str], size: int, workers: int) -> None:
    outcome = forward(batch_size=size, workers=workers)
    assert (outcome.candidates, outcome.counts.written) == (20, 20)
    assert moved() == projects


def test_a_batch_is_a_transaction(projects: list[str]) -> None:
    forward(batch_size=8)
    assert sql('SELECT count(*) FROM "AgentWorkflowRun" GROUP BY xmin::text ORDER BY min(id)') == [(8,), (8,), (4,)]


def test_progress_comes_after_each_batch(projects: list[str]) -> None:
    seen: list[Progress] = []
    forward(batch_size=8, progress=seen.append)
    assert [each[:3] for each in seen if each.total] == [("projects", done, 20) for done in (0, 8, 16, 20)]


def test_only_the_named_projects_are_moved(projects: list[str]) -> None:
    outcome = forward("p05", "p02", "p05", batch_size=1)
    assert (outcome.candidates, outcome.counts.written) == (2, 2)
    assert moved() == ["p02", "p05"]


def test_an_unknown_project_is_reported_before_anything_changes(projects: list[str]) -> None:
    with pytest.raises(UnknownProjects) as refusal:
        forward("p01", "nobody", "it's")
    assert str(refusal.value) == """No project has the id nobody, 'it'"'"'s'. Nothing was done."""
    assert moved() == []
    assert count("AgentStatePass") == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_holds_and_the_next_pass_continues(projects: list[str], workers: int) -> None:
    assert forward(limit=7, batch_size=3, workers=workers).counts.written == 7
    assert moved() == projects[:7]
    assert forward(limit=7, batch_size=3, workers=workers).counts.written == 7
    assert forward(limit=7, batch_size=3, workers=workers).counts.written == 6
    assert moved() == projects


def test_a_limit_holds_for_reverse_too(projects: list[str]) -> None:
    forward()
    save_in_agentkit(facts=["new"])
    options = PassOptions(Direction.REVERSE, selection=Selection(limit=4), batch_size=3)
    assert run_pass(options).counts.written == 4
    assert count("Project", """"factsJson" = '["new"]'""") == 4


@pytest.mark.parametrize(("limit", "expected"), [(None, 21), (20, 20)])
def test_projects_that_arrive_after_planning_are_moved_unless_there_is_a_limit(
    projects: list[str], limit: int | None, expected: int
) -> None:
    def arrive(progress: Progress) -> None:
        if (progress.step, progress.done, progress.total) == ("projects", 0, 20):
            make_project("p00", facts=1)

    assert forward(limit=limit, batch_size=8, progress=arrive).counts.written == expected


def test_it_stops_between_batches(projects: list[str]) -> None:
    stop = threading.Event()
    outcome = forward(batch_size=6, stop=stop, progress=lambda progress: stop.set() if progress.done else None)
    assert outcome.stopped
    assert moved() == projects[:6]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("refused", [["p01"], ["p20"], ["p07", "p08"], ["p01", "p10", "p20"]])
def test_a_batch_is_split_until_the_projects_that_cannot_be_moved_stand_alone(
    projects: list[str], refused: list[str], workers: int
) -> None:
    with raising_for(*refused, code="22000"):
        outcome = forward(batch_size=20, workers=workers)

    assert (outcome.candidates, outcome.counts.written, outcome.left_aside) == (20, 20 - len(refused), len(refused))
    assert [failure.project for failure in outcome.counts.failures] == refused
    assert moved() == [project for project in projects if project not in refused]


def test_a_batch_whose_projects_all_fail_is_left_aside_whole(projects: list[str]) -> None:
    with raising_for(*projects, code="54000"):
        outcome = forward()
    assert (outcome.counts.written, outcome.left_aside) == (0, 20)
    assert {failure.error_class for failure in outcome.counts.failures} == {"ProgramLimitExceeded"}


@pytest.mark.parametrize("code", ["53100", "42501"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_error_ends_the_pass_and_leaves_no_project_aside(
    projects: list[str], code: str, workers: int
) -> None:
    with raising_for("p10", code=code), pytest.raises(DatabaseError, match="refused"):
        forward(batch_size=5, workers=workers)

    assert "p10" not in moved()
    assert moved()[:5] == projects[:5]  # what was moved stays moved
    assert count("AgentStateLeftAside") == 0
    forward()
    assert moved() == projects


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
def test_a_transient_error_repeats_the_batch(projects: list[str], code: str) -> None:
    """The database refuses three times, as long as somebody is in the way."""
    sql("CREATE SEQUENCE refusals")
    sql(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('refusals') <= 3 THEN
                RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    sql('CREATE TRIGGER refuse AFTER INSERT ON "AgentWorkflowRun" EXECUTE FUNCTION refuse()')
    try:
        outcome = forward()
    finally:
        sql("DROP FUNCTION refuse CASCADE")
        sql("DROP SEQUENCE refusals")
    assert (outcome.counts.written, outcome.counts.runs, outcome.left_aside) == (20, 20, 0)
    assert moved() == projects


def test_a_second_pass_only_plans(projects: list[str]) -> None:
    forward()
    with CaptureQueriesContext(connection) as queries:
        forward(batch_size=1)
    assert len([query for query in queries if "row_number()" in query["sql"]]) == 2  # the state's steps, the sessions
    assert not any("INSERT" in query["sql"] and "AgentStatePass" not in query["sql"] for query in queries)
    assert len(queries) <= 29


def test_a_project_that_changed_meanwhile_is_moved_at_its_new_clock(projects: list[str]) -> None:
    def change(progress: Progress) -> None:
        if (progress.step, progress.done) == ("projects", 0):
            change_columns("p05", facts=["changed"])

    forward(progress=change)
    assert sql(
        """SELECT result -> 'state' -> 'facts' ->> 0, snapshot_at = p."stateUpdatedAt" FROM "AgentWorkflowRun" run
           JOIN "Project" p ON p.id = run.project_id WHERE p.id = 'p05'"""
    ) == [("changed", True)]


class TestUnreadableRow:
    """A row whose content the plan's conditions cannot read is left aside; all others move."""

    @pytest.fixture(autouse=True)
    def unreadable(self, projects: list[str]) -> Iterator[str]:
        """Let PostgreSQL fail over the chat of a project, as over a damaged page."""
        sql('ALTER TABLE "Project" ALTER meta TYPE text USING meta::text')
        sql('ALTER TABLE "Project" RENAME meta TO kept_meta')
        sql(
            """CREATE FUNCTION meta("Project") RETURNS jsonb STABLE LANGUAGE plpgsql AS $$
            BEGIN
                IF $1.id = 'p07' THEN RAISE data_corrupted USING MESSAGE = 'missing chunk number 0'; END IF;
                RETURN '{"chat": [{"role": "user", "content": "Hello"}]}';
            END $$"""
        )
        yield "p07"
        sql('DROP FUNCTION meta("Project")')
        sql('ALTER TABLE "Project" RENAME kept_meta TO meta')
        sql('ALTER TABLE "Project" ALTER meta TYPE jsonb USING meta::jsonb')

    @pytest.mark.parametrize("batch_size", [1, 3, 1000])
    def test_all_others_move(self, projects: list[str], batch_size: int) -> None:
        outcome = forward(batch_size=batch_size)
        assert outcome.counts.sessions == len(projects) - 1
        assert [(each.project, each.error_class, each.error) for each in outcome.failures] == [
            (
                "p07",
                "DataCorrupted",
                'missing chunk number 0\nCONTEXT:  PL/pgSQL function meta("Project") line 3 at RAISE',
            )
        ]
        assert outcome.failures[0].error.startswith("missing chunk number 0")
        assert [failure.project for failure in forward(batch_size=batch_size).failures] == ["p07"]
        assert LeftAside.objects.get().status == "open"

    def test_a_dry_run_reports_it(self, projects: list[str]) -> None:
        outcome = forward(dry_run=True)
        assert outcome.counts.sessions == len(projects) - 1
        assert [each.project for each in outcome.failures] == ["p07"]

    @pytest.mark.parametrize("limit", [1, 5, 9])
    def test_a_limit_holds_across_the_parts_of_the_plan(self, limit: int) -> None:
        outcome = forward(limit=limit, batch_size=2)
        assert outcome.counts.sessions + len(outcome.failures) <= limit
        assert outcome.counts.written == limit
