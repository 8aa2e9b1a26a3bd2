"""Who may use which route: every route with every kind of caller, against a table that is written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client

from agentstate.api.openapi import document
from agentstate.models import ApiToken
from tests.admin.viewers import viewer
from tests.factories import ProjectFactory, RunFactory, SessionFactory
from tests.project.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLERS = ("none", "read", "write", "revoked", "staff", "staff without permissions", "plain user")
READING = "401 200 403 401 200 403 403"
# A session cannot write: with its cookies alone, the request has no token.
EVERYONE = "200 200 200 200 200 200 200"
WRITING = "401 403 200 401 401 401 401"
SESSION = "/projects/{project_id}/sessions/{memory_id}"

# The statuses in the order of CALLERS.
EXPECTED = {
    "GET /projects/{project_id}/state": READING,
    "PATCH /projects/{project_id}/state": WRITING,
    "GET /projects/{project_id}/history": READING,
    "GET /projects/{project_id}/runs": READING,
    "GET /projects/{project_id}/sessions": READING,
    "PUT /runs/{run_id}": "401 403 201 401 401 401 401",
    "GET /runs/{run_id}": READING,
    "POST /runs/{run_id}/finish": WRITING,
    "POST /runs/{run_id}/interrupt": WRITING,
    "POST /runs/{run_id}/resume": WRITING,
    "POST /runs/{run_id}/heartbeat": "401 403 204 401 401 401 401",
    "POST /runs/{run_id}/events": WRITING,
    "GET /runs/{run_id}/events": READING,
    f"PUT {SESSION}": WRITING,
    f"GET {SESSION}": READING,
    f"POST {SESSION}/entries": WRITING,
    f"GET {SESSION}/entries": READING,
    # The write token gets past the gate: no form, and nothing to decide about.
    "POST /projects/{project_id}/documents": "401 403 415 401 401 401 401",
    "POST /projects/{project_id}/conflicts/{key}/resolution": "401 403 404 401 401 401 401",
    "POST /projects/{project_id}/eligibility/{item_id}/override": "401 403 404 401 401 401 401",
    "GET /health": EVERYONE,
    "GET /ready": EVERYONE,
    "GET /openapi.json": "401 200 403 401 200 200 403",
    "GET /docs": "302 302 302 302 200 200 302",
}
BODIES: dict[str, dict[str, Any]] = {
    "PATCH /projects/{project_id}/state": {"documents": {"facts": 1}},
    "PUT /runs/{run_id}": {"workflow_id": "draft"},
    "POST /runs/{run_id}/finish": {"status": "succeeded"},
    "POST /runs/{run_id}/interrupt": {},
    "POST /runs/{run_id}/events": {"events": [{"type": "one"}]},
    f"PUT {SESSION}": {},
    "POST /projects/{project_id}/conflicts/{key}/resolution": {"resolution": "latest"},
    "POST /projects/{project_id}/eligibility/{item_id}/override": {"fatal": True, "note": "So."},
    f"POST {SESSION}/entries": {"after": 0, "entries": [{"role": "user", "content": "hello"}]},
}


@pytest.fixture
def callers(server: str, caller: Callable[..., httpx.Client]) -> Iterator[dict[str, httpx.Client]]:
    """A client of each kind. What refuses a token was looked up before, and is remembered for a second."""
    revoked = caller("read", "write")
    assert revoked.get("/projects/nowhere/state").status_code == 404
    ApiToken.objects.revoke(ApiToken.objects.latest("pk").name)
    plain = Client()
    plain.force_login(User.objects.create_user("plain"))
    clients = {
        "none": httpx.Client(base_url=server, timeout=60, trust_env=False),
        "read": caller("read"),
        "write": caller("write"),
        "revoked": revoked,
        "staff": _with_cookies(server, viewer("project", "agentworkflowrun", "agentsession")),
        "staff without permissions": _with_cookies(server, viewer()),
        "plain user": _with_cookies(server, plain),
    }
    assert tuple(clients) == CALLERS
    assert wait_until(lambda: revoked.get("/projects/nowhere/state").status_code == 401, seconds=60)
    yield clients
    for client in clients.values():
        client.close()


def _with_cookies(server: str, logged_in: Client) -> httpx.Client:
    name = django_settings.SESSION_COOKIE_NAME
    cookies = {name: logged_in.cookies[name].value}
    return httpx.Client(base_url=server, cookies=cookies, timeout=60, trust_env=False)


def ask(client: httpx.Client, route: str, **ids: str) -> httpx.Response:
    method, path = route.split()
    return client.request(method, path.format(**ids), json=BODIES.get(route))


def test_every_route_is_in_the_table() -> None:
    routes = {
        f"{method.upper()} {path}" for path, methods in document("/").get("paths", {}).items() for method in methods
    }

    assert routes | {"GET /openapi.json", "GET /docs"} == EXPECTED.keys()


@pytest.mark.usefixtures("transactional_db")
def test_each_caller_gets_what_the_table_says_on_every_route(callers: dict[str, httpx.Client]) -> None:
    found, project = {}, ProjectFactory()
    SessionFactory(project=project, memory_id="chat")
    for number, route in enumerate(EXPECTED):
        ids = {"project_id": project.pk, "run_id": f"run-{number}", "memory_id": "chat", "key": "k", "item_id": "i"}
        if not route.startswith("PUT"):
            RunFactory(pk=ids["run_id"], project=project, status="running")
        found[route] = " ".join(str(ask(client, route, **ids).status_code) for client in callers.values())

    assert found == EXPECTED


@pytest.mark.usefixtures("transactional_db")
def test_a_refusal_does_not_tell_whether_an_id_exists(callers: dict[str, httpx.Client]) -> None:
    project = ProjectFactory()
    there = {"project_id": project.pk, "run_id": RunFactory(project=project).pk, "memory_id": "chat"}
    SessionFactory(project=project, memory_id="chat")
    there |= {"key": "k", "item_id": "i"}
    nowhere = {"project_id": "no-project", "run_id": "no-run", "memory_id": "no-chat", "key": "n", "item_id": "n"}
    routes = [route for route in EXPECTED if "{" in route]
    for (name, client), place in ((each, place) for each in callers.items() for place in range(len(routes))):
        status = EXPECTED[routes[place]].split()[CALLERS.index(name)]
        if status in ("401", "403"):
            answers = [ask(client, routes[place], **ids) for ids in (there, nowhere)]
            assert answers[0].content == answers[1].content, (name, routes[place])


@pytest.mark.usefixtures("transactional_db")
def test_a_token_in_use_shows_when_it_was_seen(caller: Callable[..., httpx.Client]) -> None:
    client = caller("read")

    client.get("/projects/nowhere/state")

    assert ApiToken.objects.get().last_seen_at is not None
