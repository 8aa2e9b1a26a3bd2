"""Decisions about what an intake found, in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.urls import reverse as url_of
from django.utils.http import urlencode

from agentstate import state
from agentstate.intake.reading import SourceFile, read
from agentstate.models import AgentDocument, AgentWorkflowRun
from agentstate.orchestrator import ingest
from agentstate.samples.call import sample_call
from tests.factories import ProjectFactory
from tests.flags import turn

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

PROJECT = "a project/1"
LIMIT = "limit_conflict:project_narrative_pages"


@pytest.fixture(autouse=True)
def ingested() -> None:
    turn("agentkit_writes", everyone=True)
    ProjectFactory(id=PROJECT)
    ingest(PROJECT, texts=[read(SourceFile(name, content)) for name, content in sample_call().items()])


@pytest.fixture
def viewer(client: Client) -> User:
    """A logged-in member of the staff who may view projects."""
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_project", "view_agentdocument"]))
    client.force_login(user)
    return user


def page(name: str, **query: str) -> str:
    return f"{url_of(f'admin:agentstate_project_{name}', args=[quote(PROJECT)])}?{urlencode(query)}"


def fatal_item() -> str:
    return str(state.load(PROJECT).eligibility["items"][0]["id"])


def test_a_conflict_is_shown_with_both_passages(client: Client, viewer: User) -> None:
    response = client.get(page("conflict", key=LIMIT))
    assert response.status_code == 200
    text = response.content.decode()
    assert "15 pages" in text
    assert "<mark><bdi>The project narrative shall not exceed 15 pages.</bdi></mark>" in text
    assert "shall not exceed 5 pages.</bdi></mark>" in text
    assert "healthy-rivers-addendum-1.pdf" in text
    assert "<form" not in text.split('id="content-main"')[1]


def test_a_resolution_needs_the_change_permission(client: Client, viewer: User) -> None:
    viewer.user_permissions.add(Permission.objects.get(codename="change_project"))
    assert "Put the previous back" in client.get(page("change")).content.decode()

    response = client.post(page("conflict", key=LIMIT), {"resolution": "previous"}, follow=True)
    assert "Resolved: previous." in response.content.decode()
    (entry,) = [each for each in state.load(PROJECT).conflict_log if each["key"] == "project_narrative_pages"]
    assert entry["resolved"] == "previous"
    assert AgentWorkflowRun.objects.get(workflow_id="rfp_decision").input["by"] == "ada"


def test_an_override_needs_the_change_permission(client: Client, viewer: User) -> None:
    viewer.user_permissions.add(Permission.objects.get(codename="change_project"))
    address = page("eligibility", id=fatal_item())
    assert "501(c)(3)" in client.get(address).content.decode()
    assert "This field is required" in client.post(address, {"fatal": "no", "note": " "}).content.decode()
    response = client.post(address, {"fatal": "no", "note": "A fiscal sponsor applies."}, follow=True)
    assert "Overridden: not fatal." in response.content.decode()
    assert state.load(PROJECT).eligibility["items"][0]["fatal"] is False


@pytest.mark.parametrize("name", ["conflict", "eligibility"])
def test_viewers_cannot_decide(client: Client, viewer: User, name: str) -> None:
    query = {"key": LIMIT} if name == "conflict" else {"id": fatal_item()}
    response = client.post(page(name, **query), {"resolution": "previous", "fatal": "no", "note": "Why"})
    assert response.status_code == 403
    assert not AgentWorkflowRun.objects.filter(workflow_id="rfp_decision").exists()


def test_staff_without_permissions_get_no_decision_page(client: Client) -> None:
    client.force_login(User.objects.create_user("eve", is_staff=True))
    assert client.get(page("conflict", key=LIMIT)).status_code == 403


@pytest.mark.parametrize(("name", "query"), [("conflict", {"key": "nothing"}), ("conflict", {}), ("eligibility", {})])
def test_unknown_keys_are_not_found(client: Client, viewer: User, name: str, query: dict[str, str]) -> None:
    assert client.get(page(name, **query)).status_code == 404


def test_an_unknown_resolution_is_refused_with_a_message(client: Client, viewer: User) -> None:
    viewer.user_permissions.add(Permission.objects.get(codename="change_project"))
    response = client.post(page("conflict", key=LIMIT), {"resolution": "neither"}, follow=True)
    assert "is no resolution. Use latest or previous." in response.content.decode()


def test_a_document_is_shown_with_its_passage(client: Client, viewer: User) -> None:
    document = AgentDocument.objects.get(name="healthy-rivers-call.docx")
    address = url_of("admin:agentstate_agentdocument_change", args=[document.pk])
    start = document.text.index("15 pages")
    text = client.get(address, {"from": start, "to": start + 8}).content.decode()
    assert '<mark id="passage"><bdi>15 pages</bdi></mark>' in text
    assert "<mark" not in client.get(address).content.decode()


@pytest.mark.parametrize(
    "query", [{"from": "x"}, {"from": "5", "to": "2"}, {"start": "9" * 30}, {"from": "0", "to": "9" * 18}]
)
def test_odd_offsets_show_the_document(client: Client, viewer: User, query: dict[str, str]) -> None:
    document = AgentDocument.objects.get(name="healthy-rivers-call.docx")
    assert client.get(url_of("admin:agentstate_agentdocument_change", args=[document.pk]), query).status_code == 200


def test_the_list_of_documents_reads_no_text(
    client: Client, viewer: User, django_assert_max_num_queries: object
) -> None:
    response = client.get(url_of("admin:agentstate_agentdocument_changelist"))
    assert response.status_code == 200
    assert all("text" in document.get_deferred_fields() for document in response.context["cl"].result_list)


def test_a_passage_of_a_deleted_document_is_quoted(client: Client, viewer: User) -> None:
    AgentDocument.objects.all().delete()
    text = client.get(page("conflict", key=LIMIT)).content.decode()
    assert "The project narrative shall not exceed 15 pages." in text
