"""The page of a project: where it stands, its state at any moment, both homes side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils.html import escape

from agentstate import state
from agentstate.models import AgentWorkflowRun, Project
from agentstate.state.keys import STATE_KEYS
from tests import scenes
from tests.admin.project.project_pages import address, page_of, text_of
from tests.admin.viewers import superuser
from tests.factories import EventFactory, ProjectFactory, RunFactory, SessionFactory, write_columns
from tests.worked_example import ODD, REQUIREMENTS, USUAL, worked_example

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return superuser()


# -- the worked example


@pytest.mark.parametrize("view", ["change", "moment"])
def test_at_each_moment_panels_source_and_changes_are_right(client: Client, view: str) -> None:
    example = worked_example(USUAL)
    expected = [
        (0.2, 2, 0, ["facts", "coverage", "conflictLog", "eligibility"]),
        (0.5, 2, 0, ["coverage"]),
        (0.5, 1, 0, ["conflictLog"]),
        (0.5, 1, 0, ["facts"]),
        (0.5, 1, 1, ["eligibility"]),
    ]
    for number, (score, open_conflicts, fatal, keys) in enumerate(expected, start=1):
        page = page_of(client, example.project, view, moment=number)
        shown = page.context
        assert float(shown["coverage"].score) == score
        assert (shown["conflicts"].open, shown["eligibility"].fatal) == (open_conflicts, fatal)
        assert shown["place"].moment.run_id == example.runs[number - 1]
        assert [change.key for change in shown["changes"]] == keys
        assert f"Moment {number} of 5" in text_of(page)
        assert url_of("admin:agentstate_agentworkflowrun_change", args=[quote(example.runs[number - 1])]) in text_of(
            page
        )


def test_at_each_moment_odd_shapes_are_right_too(client: Client) -> None:
    example = worked_example(ODD)
    expected = [
        ("0.2", "two conflicts", ["facts", "coverage", "conflictLog", "eligibility"]),
        ("0.5", "two conflicts", ["coverage"]),
        ("0.5", "one conflict is left", ["conflictLog"]),
        ("0.5", "one conflict is left", ["facts"]),
        ("0.5", "one conflict is left", ["eligibility"]),
    ]
    for number, (score, conflicts, keys) in enumerate(expected, start=1):
        shown = page_of(client, example.project, moment=number).context
        assert str(shown["coverage"].score) == score
        assert [odd.document for odd in shown["conflicts"].odd] == [conflicts]
        assert shown["place"].moment.run_id == example.runs[number - 1]
        assert [change.key for change in shown["changes"]] == keys


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (2, "score 0.2 → 0.5"),
        (3, "conflict in budget resolved: latest"),
        (4, "facts.org.legal_name"),
        (5, "new fatal item: Must be a 501(c)(3)"),
    ],
)
def test_a_change_is_one_line_of_text(client: Client, number: int, line: str) -> None:
    assert escape(line) in text_of(page_of(client, worked_example().project, moment=number))


def test_a_moment_keeps_its_address(client: Client) -> None:
    example = worked_example()
    third = page_of(client, example.project, moment=3).context["place"]
    state.save(example.project, facts="later")
    again = client.get(address(example.project) + third.query).context["place"]
    assert (again.moment, again.number, again.window.total) == (third.moment, 3, 6)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"moment": "99"},
        {"moment": "6"},
        {"moment": "x"},
        {"moment": "-1"},
        {"at": "noon"},
        {"at": "٣"},
        {"at": "9999-12-31T23:59:59-23:59"},
        {"at": "0001-01-01T00:00:00+23:59"},
    ],
)
def test_an_address_without_a_valid_moment_shows_the_present(client: Client, query: dict[str, str]) -> None:
    place = page_of(client, worked_example().project, **query).context["place"]
    assert (place.moment, place.number, place.last, place.previous, place.next) == (None, 6, 6, 5, None)


def test_the_score_is_plotted_over_time(client: Client) -> None:
    for documents in (USUAL, ODD):
        shown = page_of(client, worked_example(documents).project, moment=1)
        line = shown.context["plot"].line
        assert (line[: len("M5.0 48.2")], line[-len("32.0H295.0") :]) == ("M5.0 48.2", "32.0H295.0")
        assert 'aria-label="The score over time"' in text_of(shown)


def test_a_project_without_a_history_has_no_slider(client: Client) -> None:
    page = page_of(client, ProjectFactory(documents={"coverage": '{"score": 0.25}'}).id)
    assert "agentstate-slider" not in text_of(page)
    assert float(page.context["coverage"].score) == 0.25


def test_a_log_that_cannot_be_read_has_no_counts(client: Client) -> None:
    odd = text_of(page_of(client, worked_example(ODD).project, "moment"))
    assert "one conflict is left" in odd
    assert "agentstate-resolution" not in odd


def test_settled_conflicts_are_not_counted_as_open(client: Client) -> None:
    project = ProjectFactory(documents={"conflictLog": '[{"key": "budget", "resolved": "latest"}]'}).id
    text = text_of(page_of(client, project))
    assert '<strong>0</strong> <span class="agentstate-resolution">open</span>' in text
    assert "data-open" not in text


# -- where it stands


def test_the_page_says_where_the_state_comes_from(client: Client) -> None:
    scenes.open_gates(agentkit_reads=True)
    project = ProjectFactory(documents={"facts": "1"}).id
    text = text_of(page_of(client, project))
    assert "legacy columns" in text
    assert "this project has no snapshot" in text
    assert "legacy ahead" in text

    scenes.forward(project, sessions=False)
    text = text_of(page_of(client, project))
    assert "newest snapshot" in text
    assert "Both homes hold the same state." in text

    scenes.open_gates(agentkit_reads=False)
    scenes.save(project, "facts", "2", legacy=False)
    assert "The other home is newer" in text_of(page_of(client, project))


# -- side by side


def test_an_unequal_project_names_the_path_and_both_values(client: Client) -> None:
    project = worked_example().project
    damaged = [*REQUIREMENTS[:3], {**REQUIREMENTS[3], "status": "missing"}]
    scenes.damage(project, coverage=json.dumps({"score": 0.5, "requirements": damaged}))

    page = page_of(client, project)

    assert page.context["where"].word == "unequal"
    assert [(column, *path) for column, path in page.context["differing"].paths] == [
        ("coverageJson.requirements[3].status", "coverage.requirements[3].status", "missing", "evidenced")
    ]
    text = text_of(page)
    for part in (
        "coverage.requirements[3].status",
        "&quot;missing&quot;",
        "&quot;evidenced&quot;",
        "1 JSON path differs",
    ):
        assert part in text


def test_a_forked_project_names_the_differing_paths(client: Client) -> None:
    project = worked_example().project
    scenes.save(project, "facts", '{"org": {"ein": 1}}', legacy=False)
    write_columns(project, {"facts": '{"org": {"ein": 2}}'})
    page = page_of(client, project)
    assert page.context["where"].word == "forked"
    assert [path for _, path in page.context["differing"].paths] == [("facts.org.ein", 2, 1)]


def test_many_differences_are_named_in_part_and_long_values_are_cut(client: Client) -> None:
    project = ProjectFactory(documents={"facts": json.dumps(["x" * 1000] * 300)}).id
    scenes.forward(project, sessions=False)
    write_columns(project, {"facts": json.dumps(["y" * 1000] * 300)})
    page = page_of(client, project)
    differing = page.context["differing"]
    assert (len(differing.paths), differing.has_more) == (100, True)
    assert "The first 100 JSON paths that differ" in text_of(page)
    assert "<bdi>&quot;" + "y" * 255 + "…</bdi>" in text_of(page)


def test_the_page_works_after_the_columns_are_dropped(client: Client) -> None:
    project = worked_example().project
    columns = ", ".join(f'DROP COLUMN "{key.column}"' for key in STATE_KEYS)
    scenes.run_sql("SET CONSTRAINTS ALL IMMEDIATE")
    scenes.run_sql(f'ALTER TABLE "Project" {columns}')
    page = page_of(client, project)
    assert "The columns have been dropped." in text_of(page)
    assert page.context["where"].word == "columns_dropped"
    assert page.context["differing"].paths == []
    assert float(page.context["coverage"].score) == 0.5

    state.save(project, facts="later")
    text = text_of(page_of(client, project))
    assert "The newest snapshot is the project&#x27;s state" in text
    for untrue in ("reverse backfill", "The other home is newer", "columns <time"):
        assert untrue not in text


# -- runs and sessions


def test_the_newest_runs_and_sessions_are_named(client: Client) -> None:
    project = Project.objects.get(pk=worked_example().project)
    run = RunFactory(project=project, status="running", completed_at=None)
    for _ in range(25):
        RunFactory(project=project)
    session = SessionFactory(project=project, agent_run=run)
    page = page_of(client, project.pk)
    assert len(page.context["runs"]) == 20
    assert list(page.context["runs"]) == list(
        AgentWorkflowRun.objects.filter(project=project).order_by("-started_at", "-id")[:20]
    )
    text = text_of(page)
    for part in (
        url_of("admin:agentstate_agentsession_change", args=[quote(session.pk)]),
        url_of("admin:agentstate_agentworkflowrun_change", args=[quote(run.pk)]),
        f"{url_of('admin:agentstate_agentworkflowrun_changelist')}?q={project.pk}",
    ):
        assert part in text


@pytest.mark.parametrize(("number", "words"), [(1, "1 event"), (2, "2 events"), (1_001, "1,000+ events")])
def test_events_of_the_newest_snapshot_are_counted_so_far(client: Client, number: int, words: str) -> None:
    run = RunFactory(state={"facts": 1})
    EventFactory(run=run)
    lengthen(run.project_id, run.pk, number - 1)
    assert f" with {words}," in text_of(page_of(client, run.project_id))


def test_the_rows_made_from_the_legacy_fragment_are_counted_by_type(client: Client) -> None:
    documents = {"coverage": '{"score": 0.2}', "conflictLog": "[1, 2]", "eligibility": '{"items": ["x"]}'}
    project = ProjectFactory(documents=documents).id
    scenes.forward(project, sessions=False)
    page = page_of(client, project)
    assert dict(page.context["event_types"]) == {
        "snapshot.legacy": 1,
        "coverage.delta": 1,
        "conflict.found": 2,
        "eligibility.flag": 1,
    }
    assert "2 <bdi>conflict.found</bdi>" in text_of(page)


# -- how much is asked


def lengthen(project: str, run: str, number: int) -> None:
    """Give a run so many saves before its last."""
    scenes.run_sql(
        """
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
        SELECT 'save-' || n, id, 'state.changed', '{"coverage": {"score": 0.5}}', started_at - n * interval '1 s'
        FROM "AgentWorkflowRun", generate_series(1, %s) n WHERE id = %s
        """,
        number,
        run,
    )


@pytest.mark.parametrize("view", ["change", "moment"])
@pytest.mark.parametrize("moment", ["", "4"])
def test_the_number_of_queries_does_not_depend_on_the_history(client: Client, view: str, moment: str) -> None:
    example = worked_example()
    page_of(client, example.project, view, moment=moment)
    counts = []
    for more in (10, 2_000):
        scenes.run_sql("""DELETE FROM "AgentWorkflowRunEvent" WHERE id LIKE 'save-%%'""", *[])
        lengthen(example.project, example.runs[-1], more)
        with CaptureQueriesContext(connection) as queries:
            page = page_of(client, example.project, view, moment=moment)
        assert page.context["place"].window.total == more + 5
        assert len(page.context["place"].window.moments) <= 21
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15
