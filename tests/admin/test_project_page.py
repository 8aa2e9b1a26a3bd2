"""The page of a project: where it stands, its state at any moment, both homes side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils.html import escape

from agentstate import state
from agentstate.models import AgentWorkflowRun, Project
from agentstate.state.keys import STATE_KEYS
from tests import scenes
from tests.factories import ProjectFactory, RunFactory, SessionFactory, write_columns
from tests.worked_example import ODD, REQUIREMENTS, USUAL, worked_example

if TYPE_CHECKING:
    from django.http import HttpResponse

pytestmark = pytest.mark.django_db

DEEPEST = 6_000


def client_of(*permissions: str, superuser: bool = False) -> Client:
    user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    return client_of(superuser=True)


def address(project: str, view: str = "change", **more: str) -> str:
    return url_of(f"admin:agentstate_project_{view}", kwargs={"object_id": quote(project), **more})


def page_of(client: Client, project: str, view: str = "change", **query: Any) -> Any:
    page = client.get(address(project, view), query)
    assert page.status_code == 200
    return page


def text_of(page: HttpResponse) -> str:
    return page.content.decode()


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
def test_what_changed_reads_as_a_line(client: Client, number: int, line: str) -> None:
    assert escape(line) in text_of(page_of(client, worked_example().project, moment=number))


def test_a_moment_is_named_for_good_by_its_time(client: Client) -> None:
    example = worked_example()
    third = page_of(client, example.project, moment=3).context["place"]
    state.save(example.project, facts="later")
    again = client.get(address(example.project) + third.query).context["place"]
    assert (again.moment, again.number, again.stretch.total) == (third.moment, 3, 6)


@pytest.mark.parametrize(
    "query", [{}, {"moment": "99"}, {"moment": "6"}, {"moment": "x"}, {"moment": "-1"}, {"at": "noon"}, {"at": "٣"}]
)
def test_whatever_names_no_moment_is_the_present(client: Client, query: dict[str, str]) -> None:
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


# -- where it stands


def test_the_page_says_where_the_state_comes_from(client: Client) -> None:
    scenes.open_gates(agentkit_reads=True)
    project = ProjectFactory(documents={"facts": "1"}).id
    text = text_of(page_of(client, project))
    assert "legacy columns" in text
    assert "this project has none" in text
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


def test_the_columns_may_have_been_dropped(client: Client) -> None:
    project = worked_example().project
    columns = ", ".join(f'DROP COLUMN "{key.column}"' for key in STATE_KEYS)
    scenes.run_sql("SET CONSTRAINTS ALL IMMEDIATE")
    scenes.run_sql(f'ALTER TABLE "Project" {columns}')
    page = page_of(client, project)
    assert "The columns have been dropped." in text_of(page)
    assert page.context["differing"].paths == []
    assert float(page.context["coverage"].score) == 0.5


# -- documents


def test_a_key_of_a_snapshot_that_has_no_column_is_shown_too(client: Client) -> None:
    project = worked_example().project
    scenes.run_sql(
        """
        UPDATE "AgentWorkflowRun"
        SET result = jsonb_set(jsonb_set(result, '{state,a/b}', '"<b>"'), '{state,""}', '1')
        WHERE project_id = %s
        """,
        project,
    )
    page = page_of(client, project)
    assert page.context["where"].word == "unequal"
    assert "There is no such column." in text_of(page)
    found = client.get(address(project, "document", key=quote("a/b")), {"home": "snapshot"})
    assert json.loads(found.content) == "<b>"


def test_whole_documents_are_a_link_away(client: Client) -> None:
    project = worked_example().project
    scenes.damage(project, coverage="0.10")
    for query, beginning in (
        ({"home": "legacy"}, "0.10"),
        ({"home": "snapshot"}, '{\n  "score": 0.5,'),
        ({"moment": "1"}, '{\n  "score": 0.2,'),
        ({}, '{\n  "score": 0.5,'),
    ):
        found = client.get(address(project, "document", key="coverage"), query)
        assert found.headers["Content-Type"] == "application/json; charset=utf-8"
        assert text_of(found).startswith(beginning)


@pytest.mark.parametrize(
    ("key", "query"),
    [("rfpNorm", {}), ("rfpNorm", {"home": "legacy"}), ("nothing", {}), ("nothing", {"home": "legacy"}), ("n\0", {})],
)
def test_what_is_not_there_is_no_document(client: Client, key: str, query: dict[str, str]) -> None:
    assert client.get(address(worked_example().project, "document", key=key), query).status_code == 404


# -- whatever documents hold

HOSTILE = '</textarea><script>alert(1)</script>\u202e"'


@pytest.mark.parametrize("moment", ["", "1"])
def test_hostile_text_is_text(client: Client, moment: str) -> None:
    text = json.dumps(HOSTILE)
    documents = {
        "coverage": f'{{"score": {text}, "requirements": [{{"id": {text}, "status": {text}, {text}: {text}}}]}}',
        "conflictLog": f'[{{"key": {text}, "previous": {{"version": {text}}}, "resolved": {text}}}, {text}]',
        "eligibility": f'{{"items": [{text}], "overrides": {{{text}: {{"by": {text}}}}}, {text}: 1}}',
        "facts": f"[{text}]",
        "rfpNorm": f'{{"meta": {{"title": {text}, "url": "javascript:alert(1)"}}}}',
    }
    project = ProjectFactory(documents=documents, name=HOSTILE).id
    scenes.forward(project, sessions=False)
    page = text_of(page_of(client, project, moment=moment))
    assert "<script>alert" not in page
    assert "</textarea>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'href="javascript:' not in page


def test_large_text_is_cut(client: Client) -> None:
    huge = "x" * 5_000_000
    documents = {
        "coverage": json.dumps({"score": 0.5, "requirements": [{"id": huge, "more": huge}]}),
        "conflictLog": json.dumps([huge]),
        "eligibility": json.dumps({"items": [{"text": huge, "fatal": True}]}),
        "facts": json.dumps([{"text": str(number)} for number in range(5_000)]),
        "rfpNorm": json.dumps({"meta": {"title": huge}}),
    }
    project = ProjectFactory(documents=documents).id
    scenes.forward(project, sessions=False)
    page = page_of(client, project)
    assert len(page.content) < 200_000
    assert "and 4950 more" in text_of(page)
    assert "All 5000002 characters" not in text_of(page)
    assert len(client.get(address(project, "document", key="conflictLog"), {"home": "legacy"}).content) > 5_000_000


@pytest.mark.parametrize("moment", ["", "1"])
def test_deep_nesting_is_shown(client: Client, moment: str) -> None:
    deep = "[" * DEEPEST + "]" * DEEPEST
    project = ProjectFactory(documents=dict.fromkeys(("coverage", "conflictLog", "eligibility", "facts"), deep)).id
    scenes.forward(project, sessions=False)
    write_columns(project, {"facts": deep.replace("[]", "1")})
    page = page_of(client, project, moment=moment)
    assert [path.one for _, path in page.context["differing"].paths] == [1]
    assert client.get(address(project, "document", key="facts")).status_code == 200


@pytest.mark.parametrize(
    "project",
    [
        "grants/2024/a/v2",
        'the "final" o\'malley',
        " two  words ",
        "projet-été-プロジェクト",
        "x?a=1&b=%2F#<top>_2F",
        "change/document/facts",
        "n" * 2_000,
    ],
)
def test_any_id_has_a_page(client: Client, project: str) -> None:
    worked_example(id=project)
    listed = client.get(url_of("admin:agentstate_project_changelist"))
    assert f'href="{escape(address(project))}"' in text_of(listed)
    page = page_of(client, project, moment=2)
    assert page.context["project"].pk == project
    assert page_of(client, project, "moment", moment=2).context["place"].number == 2
    assert client.get(address(project, "document", key="facts")).status_code == 200


@pytest.mark.parametrize("project", ["nobody", "nu\0l"])
def test_no_such_project_is_not_found(client: Client, project: str) -> None:
    for view in ("change", "moment"):
        assert client.get(address(project, view)).status_code == 404
    assert client.get(address(project, "document", key="facts")).status_code == 404


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


# -- who may look


def addresses(project: str) -> list[str]:
    return [address(project), address(project, "moment"), address(project, "document", key="facts")]


def test_a_viewer_of_projects_sees_no_runs() -> None:
    example = worked_example()
    client = client_of("view_project")
    for each in addresses(example.project):
        assert client.get(each).status_code == 200
    text = text_of(page_of(client, example.project, moment=2))
    assert 'id="agentstate-runs"' not in text
    assert 'id="agentstate-sessions"' not in text
    assert "/agentworkflowrun/" not in text
    assert example.runs[1] in text


def test_a_viewer_of_runs_too_follows_links_to_them() -> None:
    project = worked_example().project
    text = text_of(page_of(client_of("view_project", "view_agentworkflowrun"), project))
    assert 'id="agentstate-runs"' in text
    assert "/agentworkflowrun/" in text
    assert 'id="agentstate-sessions"' not in text


def test_others_do_not_look() -> None:
    project = worked_example().project
    staff = client_of("view_agentworkflowrun")
    for each in addresses(project):
        assert staff.get(each).status_code == 403
        assert Client().get(each).status_code == 302


def test_nothing_is_changed_here(client: Client) -> None:
    project = worked_example().project
    before = scenes.everything()
    assert client.post(address(project), {"name": "mine"}).status_code == 403
    assert client.post(address(project, "moment")).status_code == 405
    assert client.get(url_of("admin:agentstate_project_add")).status_code == 403
    assert client.post(address(project, "delete"), {"post": "yes"}).status_code == 403
    page_of(client, project)
    assert scenes.everything() == before


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
def test_queries_are_as_many_whatever_the_history_is_long(client: Client, view: str, moment: str) -> None:
    example = worked_example()
    page_of(client, example.project, view, moment=moment)
    counts = []
    for more in (10, 2_000):
        scenes.run_sql("""DELETE FROM "AgentWorkflowRunEvent" WHERE id LIKE 'save-%%'""", *[])
        lengthen(example.project, example.runs[-1], more)
        with CaptureQueriesContext(connection) as queries:
            page = page_of(client, example.project, view, moment=moment)
        assert page.context["place"].stretch.total == more + 5
        assert len(page.context["place"].stretch.moments) <= 21
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15


# -- the list


def found(client: Client, term: str) -> list[str]:
    page = client.get(url_of("admin:agentstate_project_changelist"), {"q": term})
    return [project.pk for project in page.context["cl"].result_list]


def test_projects_are_found_by_id_its_beginning_or_a_part_of_the_name(client: Client) -> None:
    ProjectFactory(id="abc-1", name="School gardens")
    ProjectFactory(id="abc-2", name="Harbor clinic")
    ProjectFactory(id="xyz", name="Clinic of the bay")
    assert found(client, "abc-2") == ["abc-2"]
    assert found(client, "abc") == ["abc-1", "abc-2"]
    assert found(client, "clinic") == ["abc-2", "xyz"]
    assert found(client, "nothing") == []
    assert found(client, "") == ["abc-1", "abc-2", "xyz"]


def test_the_list_counts_nothing_and_reads_no_documents(client: Client) -> None:
    ProjectFactory.create_batch(3)
    with CaptureQueriesContext(connection) as queries:
        client.get(url_of("admin:agentstate_project_changelist"))
    sql = " ".join(query["sql"] for query in queries)
    assert '"Project"' in sql
    for unwanted in ("COUNT(", "Json", '"meta"'):
        assert unwanted not in sql


def test_a_name_is_text_in_the_list(client: Client) -> None:
    ProjectFactory(name=HOSTILE + "x" * 100_000)
    page = client.get(url_of("admin:agentstate_project_changelist"))
    assert "<script>alert" not in text_of(page)
    assert len(page.content) < 50_000
