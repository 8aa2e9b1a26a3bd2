"""The list of runs: what it shows, whom it shows it to, and what it finds."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils import timezone
from django.utils.html import escape

from agentstate.admin.run.admin import AgentWorkflowRunAdmin
from agentstate.admin.shared.names import MOST_NAMES as MOST_WORKFLOWS
from agentstate.admin.shared.search import MOST_PROJECTS
from agentstate.models import AgentWorkflowRun
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, RunFactory

pytestmark = pytest.mark.django_db

LIST = url_of("admin:agentstate_agentworkflowrun_changelist")
MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)
STATUSES = AgentWorkflowRun.Status.values
DASH = "\N{EN DASH}"
NASTY = '<script>alert(1)</script></textarea>"\u202e&amp;'


def shown(client: Client, **parameters: str) -> list[str]:
    response = client.get(LIST, parameters)
    assert response.status_code == 200
    return [run.pk for run in response.context["cl"].result_list]


def cell(page: str, column: str) -> str:
    """Return what stands in a column of the only row."""
    (found,) = re.findall(rf'<t[dh][^>]*class="field-{column}[^"]*"[^>]*>(.*?)</t[dh]>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", found).split())


def text_of(client: Client, **parameters: str) -> str:
    response = client.get(LIST, parameters)
    assert response.status_code == 200
    return response.content.decode()


# -- what it shows


def test_a_failed_run_shows_its_error_and_a_snapshot() -> None:
    project = ProjectFactory(name="Trails")
    RunFactory(
        id="r1",
        project=project,
        status="failed",
        started_at=timezone.now() - timedelta(hours=3),
        completed_at=timezone.now() - timedelta(hours=3) + timedelta(seconds=75),
        state={},
        error="TimeoutError: no answer\n\nTraceback (the last 5 frames at most):\n  File x",
    )
    page = text_of(superuser())

    assert 'data-status="failed"' in page
    assert cell(page, "status_word") == "failed"
    assert cell(page, "run") == "draft r1"
    assert cell(page, "project_link") == "Trails"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC 3 hours ago", cell(page, "started"))
    assert cell(page, "duration") == "1 min 15 s"
    assert cell(page, "snapshot") == "yes"
    assert cell(page, "first_line_of_error") == "TimeoutError: no answer"
    assert url_of("admin:agentstate_agentworkflowrun_change", args=["r1"]) in page


def test_the_exact_start_shows_on_hover() -> None:
    RunFactory(started_at=MOMENT)
    assert 'title="2024-05-01 12:00:00' in text_of(superuser())


def test_a_slow_client_clock_gives_no_negative_time() -> None:
    RunFactory(status="running", started_at=timezone.now() + timedelta(minutes=1), completed_at=None)
    assert cell(text_of(superuser()), "duration") == "0 ms so far"


@pytest.mark.parametrize(
    ("fields", "duration"),
    [
        ({"status": "running", "completed_at": None}, r"1 h( \d+ min)? so far"),
        ({"status": "pending", "completed_at": None}, DASH),
        ({"status": "canceled"}, "0 ms"),
    ],
    ids=str,
)
def test_a_running_run_shows_its_duration_so_far(fields: dict[str, Any], duration: str) -> None:
    RunFactory(started_at=timezone.now() - timedelta(hours=1), project=None, **fields)
    page = text_of(superuser())
    assert re.fullmatch(duration, cell(page, "duration"))
    assert cell(page, "project_link") == cell(page, "snapshot") == cell(page, "first_line_of_error") == DASH


def test_an_error_that_did_not_fail_the_run_is_not_listed() -> None:
    RunFactory(status="canceled", error="stopped by ada")
    assert "stopped by ada" not in text_of(superuser())


def test_names_and_errors_are_escaped() -> None:
    project = ProjectFactory(id=f"p/{NASTY}", name=NASTY * 100)
    RunFactory(id=f"r/{NASTY}", workflow_id=NASTY, project=project, status="failed", error=f"\n{NASTY}\nmore")

    page = text_of(superuser(), workflow=NASTY)

    assert "<script>alert" not in page
    assert f"<bdi>{escape(NASTY)}</bdi>" in page
    assert len(page) < 100_000


def test_only_the_beginning_of_a_long_error_or_name_is_read() -> None:
    RunFactory(project=ProjectFactory(name="n" * 5_000_000), status="failed", error="e" * 5_000_000)
    assert len(text_of(superuser())) < 100_000


def test_documents_are_not_read() -> None:
    RunFactory(state={"facts": "much"}, input={"much": 1})
    client = superuser()
    with CaptureQueriesContext(connection) as queries:
        client.get(LIST)
    assert not [query for query in queries if re.search(r'"(result|input|meta)"', query["sql"])]


# -- who sees it


def test_a_viewer_of_runs_sees_projects_as_text() -> None:
    run = RunFactory(project=ProjectFactory(name="Trails"))
    page = text_of(viewer("agentworkflowrun"))
    assert cell(page, "project_link") == "Trails"
    assert "agentstate/project/" not in page
    assert url_of("admin:agentstate_agentworkflowrun_change", args=[run.pk]) in page


def test_a_viewer_of_runs_and_projects_follows_the_link() -> None:
    run = RunFactory()
    page = text_of(viewer("agentworkflowrun", "project"))
    assert f'href="{url_of("admin:agentstate_project_change", args=[run.project_id])}"' in page


def test_staff_without_permissions_get_no_list() -> None:
    assert viewer().get(LIST).status_code == 403
    assert viewer("project").get(LIST).status_code == 403
    response = Client().get(LIST)
    assert (response.status_code, response.headers["Location"]) == (302, f"{url_of('admin:login')}?next={LIST}")


# -- its filters


@pytest.fixture
def runs() -> dict[tuple[str, str, bool], str]:
    """Runs of each status in each of two workflows, with and without a snapshot."""
    found = {}
    for number, key in enumerate(itertools.product(STATUSES, ("draft", "intake"), (True, False))):
        status, workflow, carries = key
        started = MOMENT + timedelta(minutes=number)
        run = RunFactory(workflow_id=workflow, status=status, started_at=started, state={} if carries else None)
        found[key] = run.pk
    return found


@pytest.mark.parametrize("snapshot", [None, "yes", "no"])
@pytest.mark.parametrize("workflow", [None, "draft"])
@pytest.mark.parametrize("status", [None, "failed"])
def test_filters_select_matching_runs_newest_first(
    runs: dict[tuple[str, str, bool], str], status: str | None, workflow: str | None, snapshot: str | None
) -> None:
    asked = {"status": status, "workflow": workflow, "snapshot": snapshot}
    found = shown(superuser(), **{name: value for name, value in asked.items() if value})
    assert found == [
        pk
        for (its_status, its_workflow, carries), pk in reversed(runs.items())
        if status in (None, its_status)
        and workflow in (None, its_workflow)
        and snapshot in (None, "yes" if carries else "no")
    ]


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        ("2024-05-02", "", [4, 3, 2]),
        ("", "2024-05-02", [2, 1]),
        ("2024-05-02", "2024-05-03", [3, 2]),
        ("2024-05-03", "2024-05-02", []),
        ("0001-01-01", "9999-12-31", [4, 3, 2, 1]),
    ],
)
def test_days_are_included_from_midnight_to_midnight(since: str, until: str, days: list[int]) -> None:
    for day in range(1, 5):
        for time in ("00:00:00.000000", "23:59:59.999999"):
            RunFactory(id=f"{day} {time}", started_at=datetime.fromisoformat(f"2024-05-0{day}T{time}+00:00"))
    found = shown(superuser(), **{"started_at-since": since, "started_at-until": until})
    assert [pk[0] for pk in found] == [str(day) for day in days for _ in range(2)]


def test_an_invalid_day_is_ignored_with_a_message() -> None:
    run = RunFactory()
    client = superuser()
    wrong = {"started_at-since": "2024-13-45", "started_at-until": "\0"}
    assert shown(client, **wrong) == [run.pk]
    assert text_of(client, **wrong).count("Not a valid time") == 2


def test_the_days_form_keeps_the_other_filters() -> None:
    RunFactory(workflow_id="a b")
    page = text_of(superuser(), workflow="a b", q="r")
    form = page[page.index('class="agentstate-filter"') :]
    assert '<input type="hidden" name="workflow" value="a b">' in form
    assert '<input type="hidden" name="q" value="r">' in form


@pytest.mark.parametrize(
    "parameters",
    [{"status": "nonsense"}, {"status": "\0"}, {"workflow": "\0"}, {"workflow": ""}, {"workflow": "none"}],
    ids=str,
)
def test_a_filter_that_no_run_meets_finds_none(parameters: dict[str, str]) -> None:
    RunFactory()
    assert shown(superuser(), **parameters) == []


def test_an_unknown_snapshot_filter_finds_all() -> None:
    run = RunFactory()
    assert shown(superuser(), snapshot="perhaps") == [run.pk]


def workflows(client: Client, **parameters: str) -> list[str]:
    changelist = client.get(LIST, parameters).context["cl"]
    (spec,) = [spec for spec in changelist.filter_specs if spec.title == "workflow"]
    return [value for value, _ in spec.lookup_choices]


def test_the_workflow_filter_offers_some_and_the_selected_one() -> None:
    for number in range(MOST_WORKFLOWS + 5):
        RunFactory(project=None, workflow_id=f"w{number:03}")
    client = superuser()
    some = [f"w{number:03}" for number in range(MOST_WORKFLOWS)]
    assert workflows(client) == some
    assert workflows(client, workflow="w054") == [*some, "w054"]
    assert workflows(client, workflow="w001") == some


def test_a_workflow_with_a_long_name_is_stored_shown_and_found() -> None:
    run = RunFactory(workflow_id="w" * 3000)
    client = superuser()
    (name,) = workflows(client)
    assert shown(client, workflow=name) == [run.pk]


def test_a_workflow_filter_that_times_out_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    RunFactory()
    monkeypatch.setattr("agentstate.admin.shared.names.WORKFLOWS", "SELECT 'w' FROM pg_sleep(1) LIMIT %s")
    monkeypatch.setattr(AgentWorkflowRunAdmin, "seconds", 0.1)
    page = text_of(superuser(), workflow="w")
    assert "This search took longer than 0.1 s" in page
    assert 'id="searchbar"' in page


# -- its search


def test_a_run_is_found_by_its_id_alone() -> None:
    run, _ = RunFactory(id="r1"), RunFactory(id="r11")
    assert shown(superuser(), q=" r1 ") == [run.pk]
    assert shown(superuser(), q="r1x") == []


def test_runs_are_found_by_an_exact_project_id() -> None:
    first, second = ProjectFactory(id="p1", name="One"), ProjectFactory(id="p11", name="p1 too")
    older, newer = RunFactory(project=first, started_at=MOMENT), RunFactory(project=first)
    RunFactory(project=second)
    assert shown(superuser(), q="p1") == [newer.pk, older.pk]


def test_runs_are_found_by_a_projects_id_that_begins_and_ends_with_spaces() -> None:
    spaced = RunFactory(project=ProjectFactory(id=" p "))
    plain = RunFactory(project=ProjectFactory(id="p"))
    assert shown(superuser(), q=" p ") == [spaced.pk]
    assert shown(superuser(), q="  p") == [plain.pk]


@pytest.mark.parametrize("term", ["pro", "aIls and", "100%"])
def test_runs_are_found_by_the_beginning_of_a_project_id_or_part_of_a_name(term: str) -> None:
    runs = [RunFactory(project=ProjectFactory(id=f"pro{n}", name="Trails and 100% Ways")) for n in range(2)]
    RunFactory(project=ProjectFactory(id="xpro", name="Else"))
    assert shown(superuser(), q=term) == [run.pk for run in reversed(runs)]


def test_a_search_respects_the_filters() -> None:
    project = ProjectFactory()
    RunFactory(project=project)
    failed = RunFactory(project=project, status="failed")
    assert shown(superuser(), q=project.id, status="failed") == [failed.pk]


def test_a_search_that_finds_many_projects_says_that_it_was_cut() -> None:
    for number in range(MOST_PROJECTS + 1):
        RunFactory(project=ProjectFactory(name=f"Trail {number}"))
    page = superuser().get(LIST, {"q": "trail"})
    assert len(page.context["cl"].result_list) == MOST_PROJECTS
    assert "More than 20 projects match" in page.content.decode()


@pytest.mark.parametrize("term", ["nothing", "\0", "'", "%", "\\", "\u202e", "x" * 5000])
def test_an_empty_search_result_says_so(term: str) -> None:
    RunFactory(project=ProjectFactory(id="p", name="n"))
    response = superuser().get(LIST, {"q": term})
    assert response.status_code == 200
    # What no text can hold is refused by the form, and then nothing is searched for.
    assert len(response.context["cl"].result_list) == (1 if term == "\0" else 0)
