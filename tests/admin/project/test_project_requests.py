"""Whatever is asked of projects' pages is answered: any document, id or search, for those who may look."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils.html import escape

from tests import scenes
from tests.admin.project.project_pages import address, page_of, text_of
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, write_columns
from tests.worked_example import worked_example

pytestmark = pytest.mark.django_db

DEEPEST = 6_000
HOSTILE = '</textarea><script>alert(1)</script>\u202e"'


@pytest.fixture
def client() -> Client:
    return superuser()


# -- documents


def test_a_snapshot_key_without_a_column_is_shown(client: Client) -> None:
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
    assert "No column has this key." in text_of(page)
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
def test_an_unknown_document_is_not_found(client: Client, key: str, query: dict[str, str]) -> None:
    assert client.get(address(worked_example().project, "document", key=key), query).status_code == 404


# -- whatever documents hold


@pytest.mark.parametrize("moment", ["", "1"])
def test_hostile_text_is_escaped(client: Client, moment: str) -> None:
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
def test_every_id_has_a_page(client: Client, project: str) -> None:
    worked_example(id=project)
    listed = client.get(url_of("admin:agentstate_project_changelist"))
    assert f'href="{escape(address(project))}"' in text_of(listed)
    page = page_of(client, project, moment=2)
    assert page.context["project"].pk == project
    assert page_of(client, project, "moment", moment=2).context["place"].number == 2
    assert client.get(address(project, "document", key="facts")).status_code == 200


@pytest.mark.parametrize("project", ["nobody", "nu\0l"])
def test_an_unknown_project_is_not_found(client: Client, project: str) -> None:
    for view in ("change", "moment"):
        assert client.get(address(project, view)).status_code == 404
    assert client.get(address(project, "document", key="facts")).status_code == 404


# -- who may look


def addresses(project: str) -> list[str]:
    return [address(project), address(project, "moment"), address(project, "document", key="facts")]


def test_a_viewer_of_projects_sees_no_runs() -> None:
    example = worked_example()
    client = viewer("project")
    for each in addresses(example.project):
        assert client.get(each).status_code == 200
    text = text_of(page_of(client, example.project, moment=2))
    assert 'id="agentstate-runs"' not in text
    assert 'id="agentstate-sessions"' not in text
    assert "/agentworkflowrun/" not in text
    assert example.runs[1] in text


def test_a_viewer_of_runs_and_projects_follows_links() -> None:
    project = worked_example().project
    text = text_of(page_of(viewer("project", "agentworkflowrun"), project))
    assert 'id="agentstate-runs"' in text
    assert "/agentworkflowrun/" in text
    assert 'id="agentstate-sessions"' not in text


def test_staff_without_permissions_get_no_project_page() -> None:
    project = worked_example().project
    staff = viewer("agentworkflowrun")
    for each in addresses(project):
        assert staff.get(each).status_code == 403
        assert Client().get(each).status_code == 302


def test_projects_are_read_only(client: Client) -> None:
    project = worked_example().project
    before = scenes.everything()
    assert client.post(address(project), {"name": "mine"}).status_code == 403
    assert client.post(address(project, "moment")).status_code == 405
    assert client.get(url_of("admin:agentstate_project_add")).status_code == 403
    assert client.post(address(project, "delete"), {"post": "yes"}).status_code == 403
    page_of(client, project)
    assert scenes.everything() == before


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


def test_the_list_counts_nothing_and_reads_no_chats(client: Client) -> None:
    ProjectFactory.create_batch(3)
    with CaptureQueriesContext(connection) as queries:
        client.get(url_of("admin:agentstate_project_changelist"))
    sql = " ".join(query["sql"] for query in queries)
    assert '"Project"' in sql
    for unwanted in ("COUNT(", '"meta"'):
        assert unwanted not in sql


def test_a_name_is_escaped_in_the_list(client: Client) -> None:
    ProjectFactory(name=HOSTILE + "x" * 100_000)
    page = client.get(url_of("admin:agentstate_project_changelist"))
    assert "<script>alert" not in text_of(page)
    assert len(page.content) < 50_000
