"""What engineers browse: runs, sessions, the ledger and what was left aside, to look at only."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of

from agentstate.models import AgentSession, AgentWorkflowRun, BackfillPass, LeftAside
from tests import scenes
from tests.factories import ProjectFactory

MODELS = ["agentworkflowrun", "agentsession", "backfillpass", "leftaside"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows() -> dict[str, object]:
    """Return the id of a row of each model: a project that was moved with its chat, and one that was left aside."""
    project = ProjectFactory(documents={"facts": '"<script>alert(1)</script>"'})
    scenes.run_sql(
        """UPDATE "Project" SET meta = '{"chat": [{"role": "user", "content": "Hello"}]}' WHERE id = %s""", project.id
    )
    scenes.forward()
    scenes.empty_columns(project.id)
    scenes.forward()
    return {
        "agentworkflowrun": AgentWorkflowRun.objects.get().pk,
        "agentsession": AgentSession.objects.get().pk,
        "backfillpass": BackfillPass.objects.earliest("pk").pk,
        "leftaside": LeftAside.objects.get().pk,
    }


def client_of(*permissions: str, superuser: bool = False) -> Client:
    user = User.objects.create_user("viewer", is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("model", MODELS)
def test_a_superuser_sees_everything_and_changes_nothing(rows: dict[str, object], model: str) -> None:
    client = client_of(superuser=True)
    assert client.get(url_of(f"admin:agentstate_{model}_changelist")).status_code == 200
    page = client.get(url_of(f"admin:agentstate_{model}_change", args=[rows[model]]))
    assert page.status_code == 200
    assert b"<script>alert" not in page.content
    assert b'name="_save"' not in page.content
    assert client.get(url_of(f"admin:agentstate_{model}_add")).status_code == 403
    assert client.post(url_of(f"admin:agentstate_{model}_delete", args=[rows[model]])).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_the_pages_need_view_permissions(rows: dict[str, object], model: str) -> None:
    address = url_of(f"admin:agentstate_{model}_changelist")
    assert client_of(f"view_{model}").get(address).status_code == 200
    User.objects.all().delete()
    assert client_of().get(address).status_code == 403
    assert Client().get(address).status_code == 302


@pytest.mark.parametrize(
    ("model", "documents"), [("agentworkflowrun", '"result"'), ("agentsession", "transcript_json")]
)
def test_a_list_reads_no_documents(rows: dict[str, object], model: str, documents: str) -> None:
    client = client_of(superuser=True)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get(url_of(f"admin:agentstate_{model}_changelist"))
    assert queries
    assert not [query for query in queries if documents in query["sql"]]


def test_a_search_finds_the_runs_of_a_project(rows: dict[str, object]) -> None:
    other = ProjectFactory(documents={"facts": "1"})
    scenes.forward(other.id)
    client = client_of(superuser=True)
    page = client.get(url_of("admin:agentstate_agentworkflowrun_changelist"), {"q": other.id})
    assert [run.project_id for run in page.context["cl"].result_list] == [other.id]


def test_the_ledger_shows_passes_newest_first(rows: dict[str, object]) -> None:
    page = client_of(superuser=True).get(url_of("admin:agentstate_backfillpass_changelist"))
    passes = list(page.context["cl"].result_list)
    assert [(entry.direction, entry.written, entry.left_aside) for entry in passes] == [
        ("forward", 0, 1),
        ("forward", 1, 0),
    ]


@pytest.mark.parametrize("page", ["change", "history", "delete"])
@pytest.mark.parametrize("model", ["agentworkflowrun", "agentsession", "project"])
def test_an_impossible_id_is_not_found_without_an_error(model: str, page: str) -> None:
    address = url_of(f"admin:agentstate_{model}_{page}", args=["nu\0l"])
    assert client_of(superuser=True).get(address).status_code in (302, 403, 404)
