"""Documents over HTTP: uploaded in a request, read as a run, decided about."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import override_settings

from agentstate import state
from agentstate.intake.reading import SourceFile, read
from agentstate.models import AgentDocument, AgentWorkflowRun, IncomingFile
from agentstate.orchestrator.store import keep
from agentstate.recording import close_stale_runs
from tests.api.streams import all_messages
from tests.factories import ProjectFactory, RunFactory
from tests.faults.processes import Command
from tests.flags import turn
from tests.project.processes import wait_until
from tests.recording.recorded import silence
from tests.sql import WAITING_FOR_LOCKS, second_connection, sql

if TYPE_CHECKING:
    import httpx

PROJECT = "project-1"
CALL = b"# Call\n\n## Format\n\nThe proposal must not exceed 5 pages.\n\nBidders must be eligible under 501(c)(3).\n"
NEWER = CALL.replace(b"5 pages", b"9 pages")
WORKER = {"AGENTSTATE_TASKS_BACKEND": "django_tasks_db.DatabaseBackend"}
ENQUEUE = f"""
from agentstate.api.tasks import read_documents
from agentstate.intake.reading import SourceFile
from agentstate.orchestrator import receive
received = receive({PROJECT!r}, [SourceFile("call.md", {CALL!r}), SourceFile("call_v2.md", {NEWER!r})], "intake-1")
print(read_documents.enqueue(received.run_id).status)
"""


def upload(client: httpx.Client, *files: tuple[str, bytes], project: str = PROJECT, **fields: Any) -> httpx.Response:
    return client.post(
        f"/projects/{project}/documents", files=[("files", (name, data)) for name, data in files], data=fields
    )


@pytest.fixture
def project(client: httpx.Client) -> Any:
    turn("agentkit_writes", everyone=True)
    return ProjectFactory(id=PROJECT)


@pytest.mark.usefixtures("project")
def test_uploaded_documents_become_state_and_decisions_change_it(client: httpx.Client) -> None:
    answer = upload(client, ("call.md", CALL), ("call_v2.md", NEWER), ("empty.md", b""))

    assert answer.status_code == 202
    found = answer.json()
    assert (found["status"], answer.headers["Location"]) == ("succeeded", f"/api/v1/runs/{found['run_id']}")
    assert found["events"] == f"/api/v1/runs/{found['run_id']}/events"
    types = [message.data.get("type") for message in all_messages(client, found["run_id"])]
    assert types[0] == "tool.invocation"
    assert "conflict.found" in types
    again = upload(client, ("call.md", CALL), ("call_v2.md", NEWER), ("empty.md", b""))
    assert (again.status_code, again.json()) == (202, found)

    before = state.load(PROJECT)
    (conflict,) = before.conflict_log
    path = f"/projects/{PROJECT}/conflicts/{conflict['key']}/resolution"
    resolved, repeated = (client.post(path, json={"resolution": "previous"}) for _ in range(2))
    assert (resolved.status_code, resolved.json()["changed"]) == (200, ["rfpNorm", "conflictLog"])
    assert repeated.json() == {"run_id": None, "changed": [], "score": resolved.json()["score"]}
    assert "5 pages" in str(state.load(PROJECT).rfp_norm)

    (item,) = before.eligibility["items"]
    path = f"/projects/{PROJECT}/eligibility/{item['id']}/override"
    overridden, repeated = (client.post(path, json={"fatal": False, "note": "We are."}) for _ in range(2))
    assert (overridden.status_code, overridden.json()["changed"]) == (200, ["coverage", "eligibility"])
    assert repeated.json()["run_id"] is None
    assert state.load(PROJECT).eligibility["items"][0]["fatal"] is False
    assert AgentWorkflowRun.objects.get(pk=overridden.json()["run_id"]).input["by"] == "test-0"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("conflicts/none/resolution", {"resolution": "latest"}, "decision-not-found"),
        ("conflicts/none/resolution", {"resolution": "both"}, "invalid"),
        ("eligibility/none/override", {"fatal": True, "note": "So."}, "decision-not-found"),
        ("eligibility/none/override", {"fatal": True, "note": "  "}, "invalid"),
        ("eligibility/none/override", {"fatal": True, "note": "\x1d"}, "invalid"),
    ],
)
def test_a_decision_without_a_target_is_refused(client: httpx.Client, path: str, body: Any, kind: str) -> None:
    answer = client.post(f"/projects/{PROJECT}/{path}", json=body)
    assert answer.json()["type"] == f"urn:agentstate:problem:{kind}"
    assert AgentWorkflowRun.objects.count() == 0


@pytest.mark.usefixtures("project")
def test_an_invalid_upload_is_refused_and_nothing_is_kept(client: httpx.Client) -> None:
    RunFactory(id="taken")
    refusals = [
        (415, client.post(f"/projects/{PROJECT}/documents", json={})),
        (422, client.post(f"/projects/{PROJECT}/documents", files={"other": b"x"})),
        (422, upload(client, ("call.md", CALL), run="no id")),
        (409, upload(client, ("call.md", CALL), run="taken")),
        (404, upload(client, ("call.md", CALL), project="nowhere")),
    ]
    with override_settings(AGENTSTATE_API_FILES=1):
        refusals.append((413, upload(client, ("call.md", CALL), ("call_v2.md", NEWER))))
    with override_settings(AGENTSTATE_API_FILE_BYTES=10):
        refusals.append((413, upload(client, ("call.md", CALL))))
    with override_settings(AGENTSTATE_API_UPLOAD_BYTES=10):
        refusals.append((413, upload(client, ("call.md", CALL))))
    turn("agentkit_writes", everyone=False)
    turn("legacy_writes", everyone=False)
    refusals.append((409, upload(client, ("call.md", CALL))))
    assert [answer.status_code for _, answer in refusals] == [status for status, _ in refusals]
    assert {answer.headers["Content-Type"] for _, answer in refusals} == {"application/problem+json"}
    assert (IncomingFile.objects.count(), AgentDocument.objects.count()) == (0, 0)


@pytest.mark.usefixtures("project")
def test_a_worker_that_dies_leaves_a_run_to_close_and_its_documents() -> None:
    def manage(*arguments: str) -> str:
        command = Command(*arguments, environment=WORKER)
        assert command.end(120) == 0, command.stderr
        return command.stdout

    manage("migrate", "django_tasks_database", "-v0")
    try:
        manage("shell", "-v0", "-c", ENQUEUE)
        assert AgentWorkflowRun.objects.get().status == "pending"
        with second_connection() as other, transaction.atomic():
            # The document that the worker reads second is being written by another transaction: it waits for that.
            keep(PROJECT, "intake-1", read(SourceFile("call_v2.md", NEWER)), AgentWorkflowRun.objects.get().started_at)
            worker = Command("db_worker", "--no-startup-delay", environment=WORKER)
            assert wait_until(lambda: other.execute(WAITING_FOR_LOCKS).fetchone() is not None, seconds=120)
            worker.kill()
            transaction.set_rollback(True)
        assert AgentWorkflowRun.objects.get().status == "running"
        assert list(AgentDocument.objects.values_list("name", flat=True)) == ["call.md"]
        silence("intake-1", 2)
        assert [run.run_id for run in close_stale_runs(timedelta(hours=1))] == ["intake-1"]
        assert state.load(PROJECT).rfp_norm is state.ABSENT
    finally:
        sql("DROP TABLE IF EXISTS django_tasks_database_dbtaskresult")
        sql("DELETE FROM django_migrations WHERE app = 'django_tasks_database'")
        ContentType.objects.filter(app_label="django_tasks_database").delete()


def test_load_balancers_ask_without_a_token(client: httpx.Client) -> None:
    del client.headers["Authorization"]
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
