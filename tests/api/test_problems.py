"""What is refused, and how: problem+json with the field, the fact and the way out, without SQL or a traceback."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.api import waiting
from agentstate.models import ApiToken
from tests.factories import ProjectFactory, RunFactory
from tests.flags import turn
from tests.sql import second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from pytest_django.fixtures import SettingsWrapper

SECRET = "planted-secret-5c1f"
JSON = {"Content-Type": "application/json"}


def kind(answer: httpx.Response) -> tuple[int, str]:
    """Return an answer's status and kind, after a look at what all problems have."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"].endswith(".")
    assert problem["way_out"].endswith(".") or problem["status"] == 401
    assert not any(word in answer.text for word in ("Traceback", "SELECT", "INSERT", "psycopg", "site-packages"))
    return answer.status_code, problem["type"].removeprefix("urn:agentstate:problem:")


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"workflow_id": ', JSON, (400, "not-json")),
        (b"\xff", JSON, (400, "not-json")),
        (b'{"input": NaN}', JSON, (400, "not-json")),
        (b'{"input": 1e99999999999999999999}', JSON, (400, "not-json")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported-media-type")),
        (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, (415, "unsupported-media-type")),
        (b'{"input": ' + b"[" * 100 + b"]" * 100 + b"}", JSON, (422, "too-deep")),
        (b"[" * 200_000, JSON, (422, "too-deep")),
        (b"", JSON, (422, "invalid")),
        (b"[]", JSON, (422, "invalid")),
        (b'{"workflow_id": 7}', JSON, (422, "invalid")),
        (b'{"workflow_id": "a\\u0000"}', JSON, (422, "invalid")),
        (b'{"workflow_id": "\\ud800"}', JSON, (422, "invalid")),
        (b'{"workflow_id": "draft", "other": 1}', JSON, (422, "invalid")),
    ],
)
def test_an_invalid_body_is_refused(
    client: httpx.Client, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert kind(client.put("/runs/draft-7", content=body, headers=headers)) == expected


@pytest.mark.parametrize("states_length", [True, False])
def test_a_body_that_is_too_large_is_refused(
    client: httpx.Client, settings: SettingsWrapper, states_length: bool
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    body = b'{"workflow_id": "%s"}' % (b"x" * 2_000)

    answer = client.put("/runs/draft-7", content=body if states_length else iter([body]), headers=JSON)

    assert kind(answer) == (413, "body-too-large")


def test_unknown_routes_and_methods_are_problems(client: httpx.Client) -> None:
    assert kind(client.get("/nothing")) == (404, "no-such-route")
    assert kind(client.post("/nothing")) == (404, "no-such-route")
    assert kind(client.post("/openapi.json")) == (405, "method-not-allowed")
    refused = client.delete("/runs/draft-7")
    assert kind(refused) == (405, "method-not-allowed")
    assert refused.headers["Allow"] == "GET, PUT"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/projects/p/state?at=yesterday", "at"),
        ("/projects/p/state?at=2025-10-07T17:55:00", "at"),
        ("/projects/p/state?keys=facts,other", "keys"),
        ("/projects/p/runs?limit=0", "limit"),
        ("/runs/r/events?after=-1", "after"),
    ],
)
def test_an_invalid_parameter_is_named(client: httpx.Client, path: str, field: str) -> None:
    answer = client.get(path)

    assert kind(answer) == (422, "invalid")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_an_invalid_cursor_is_refused(client: httpx.Client) -> None:
    project = ProjectFactory()

    assert kind(client.get(f"/projects/{project.pk}/runs?after=abc")) == (422, "invalid")


def test_closed_gates_refuse_a_save(client: httpx.Client) -> None:
    project = ProjectFactory()
    turn("agentkit_writes", everyone=False)
    turn("legacy_writes", everyone=False)

    answer = client.patch(f"/projects/{project.pk}/state", json={"documents": {"facts": 1}})

    assert kind(answer) == (409, "gates-closed")
    assert answer.json()["gates"] == ["agentkit_writes", "legacy_writes"]


def test_a_run_that_has_ended_refuses_a_save(client: httpx.Client) -> None:
    project = ProjectFactory()
    run = RunFactory(project=project, status="failed")

    answer = client.patch(f"/projects/{project.pk}/state", json={"documents": {"facts": 1}, "run": run.pk})

    assert kind(answer) == (409, "unsuitable-run")


def test_a_name_is_shown_escaped(client: httpx.Client) -> None:
    content = b'{"documents": {"\\u0000\\ud800": 1}}'
    answer = client.patch(f"/projects/{ProjectFactory().pk}/state", content=content, headers=JSON)

    problem = answer.json()
    assert answer.status_code == 422
    assert all(isinstance(text, str) for text in (problem["detail"], *problem["errors"][0].values()))


def test_a_document_that_postgresql_cannot_hold_is_refused(client: httpx.Client) -> None:
    project = ProjectFactory()

    answer = client.patch(
        f"/projects/{project.pk}/state", content=b'{"documents": {"facts": {"a": ["\\u0000"]}}}', headers=JSON
    )

    assert kind(answer) == (422, "unsuitable-document")
    assert answer.json()["errors"][0]["field"] == "facts.a[0]"


def test_a_locked_project_asks_to_retry(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS", 0.2)
    project = ProjectFactory()
    with second_connection() as other, other.transaction():
        other.execute('SELECT FROM "Project" WHERE id = %s FOR UPDATE', [project.pk])
        answer = client.patch(f"/projects/{project.pk}/state", json={"documents": {"facts": 1}})

    assert kind(answer) == (503, "locked")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.fixture(params=[False, True], ids=["DEBUG off", "DEBUG on"])
def debug(request: pytest.FixtureRequest, settings: SettingsWrapper) -> bool:
    settings.DEBUG = request.param
    return bool(request.param)


@pytest.fixture
def broken_table(transactional_db: None) -> Iterator[None]:
    """A table of runs that lacks a column, so that each statement about it fails."""
    sql('ALTER TABLE "AgentWorkflowRun" RENAME COLUMN workflow_id TO gone')
    yield
    sql('ALTER TABLE "AgentWorkflowRun" RENAME COLUMN gone TO workflow_id')


@pytest.mark.usefixtures("debug", "broken_table")
def test_a_server_error_reveals_nothing(client: httpx.Client) -> None:
    for answer in (client.get("/runs/draft-7"), client.put("/runs/draft-7", json={"workflow_id": "draft"})):
        assert kind(answer) == (500, "internal")
        assert "workflow_id" not in answer.text


@pytest.mark.usefixtures("debug")
def test_secrets_are_in_no_log_and_no_answer(
    caller: Callable[..., httpx.Client],
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = caller("read")
    token = client.headers["Authorization"].removeprefix("Bearer ")
    answers = [client.get("/projects/nowhere/state"), client.put("/runs/draft-7", json={"workflow_id": token})]
    for header in (f"Bearer {SECRET}", f"Basic {SECRET}", SECRET, f"bearer  {SECRET}", f"Bearer {token} {SECRET}"):
        answers.append(client.get("/projects/nowhere/state", headers={"Authorization": header}))
        assert kind(answers[-1]) == (401, "unauthorized")
    ApiToken.objects.all().delete()
    for name, value in {"HOST": "127.0.0.1", "PORT": "1", "PASSWORD": SECRET}.items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    away = client.get("/projects/nowhere/state", headers={"Authorization": f"Bearer agentstate_{SECRET}"})

    assert kind(away) == (503, "database-away")
    assert int(away.headers["Retry-After"]) > 0
    for text in (*(answer.text for answer in [*answers, away]), caplog.text):
        assert SECRET not in text
        assert token not in text


@pytest.mark.parametrize(("origin", "is_allowed"), [("https://app.example", True), ("https://other.example", False)])
def test_only_configured_origins_may_ask_from_a_browser(
    client: httpx.Client, settings: SettingsWrapper, origin: str, is_allowed: bool
) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    without: Any = client.get("/projects/p/state", headers={"Origin": origin})
    settings.AGENTSTATE_API_ORIGINS = ["https://app.example"]

    answers = [
        client.get("/projects/p/state", headers={"Origin": origin}),
        client.options("/projects/p/state", headers=preflight),
    ]

    assert not [name for name in without.headers if name.startswith("access-control")]
    allowed = origin if is_allowed else None
    assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == [allowed, allowed]
    assert [answer.headers.get("Access-Control-Allow-Credentials") for answer in answers] == [None, None]
    assert answers[1].status_code == 204
