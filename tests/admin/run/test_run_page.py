"""A run's page over HTTP: whom it shows itself to, its header and its documents."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of

from tests.admin.run.run_pages import address, get, lines, text_of
from tests.admin.run.timeline.scenes import START, add_event, add_events, make_run
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, SessionFactory

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db

# A run may have any id that a project's id is a part of.
ODD_ID = 'legacy_a/b "c"\u00fc<d>?#%_1'


# -- who may see it


def every_address(run: AgentWorkflowRun, event: str) -> list[str]:
    return [
        address(run),
        address(run, "live"),
        address(run, "payload", event),
        address(run, "other_half", event),
        address(run, "document", "input"),
        address(run, "download"),
    ]


@pytest.mark.parametrize(
    ("client_of", "statuses"),
    [
        (superuser, [200, 200, 200, 302, 200, 200]),
        (lambda: viewer("agentworkflowrun"), [200, 200, 200, 302, 200, 200]),
        (lambda: viewer("agentsession", "project"), [403] * 6),
        (Client, [302] * 6),
    ],
    ids=["superuser", "viewer", "staff without permission", "anonymous"],
)
def test_the_page_needs_the_permission_to_view_runs(client_of: Any, statuses: list[int]) -> None:
    run = make_run(input={"a": 1})
    event = add_event(run, "note")
    client = client_of()
    assert [client.get(each).status_code for each in every_address(run, event)] == statuses
    if statuses == [302] * 6:
        assert all("/login/" in client.get(each).url for each in every_address(run, event))


def test_runs_are_read_only() -> None:
    run = make_run()
    client = superuser()
    assert [client.post(each).status_code for each in every_address(run, "x")] == [403] * 6


def test_links_need_the_permission_of_their_target() -> None:
    project = ProjectFactory()
    run = make_run(project=project)
    session = SessionFactory(project=project, agent_run=run)
    targets = [
        url_of("admin:agentstate_project_change", args=[quote(project.pk)]),
        url_of("admin:agentstate_agentsession_change", args=[quote(session.pk)]),
    ]
    for client, is_linked in ((superuser(), True), (viewer("agentworkflowrun"), False)):
        page = client.get(address(run)).content.decode()
        assert [f'href="{target}"' in page for target in targets] == [is_linked, is_linked]
        assert project.name in page
        assert session.pk in page


# -- the header


def test_a_failed_run_shows_its_error_first() -> None:
    error = 'ValueError: no page 7\n\nTraceback (the last 6 frames at most):\n  File "x.py", line 3, in read'
    run = make_run(status="failed", error=error, input={"page": 7}, completed_at=START + timedelta(seconds=65))
    text = text_of(get(run))
    places = [text.index(part) for part in ("no page 7", 'File "x.py"', "Status failed", "1 min 5 s", "Timeline")]
    assert places == sorted(places)
    assert '"page": 7' in text


def test_a_long_first_line_of_an_error_is_shown_whole() -> None:
    text = text_of(get(make_run(status="failed", error=f"{'word ' * 200}end\nmore")))
    assert text.count("word ") > 200
    assert "end more" in text


def test_documents_are_folded_and_the_state_is_left_where_it_is() -> None:
    run = make_run(result={"state": {"facts": "a secret"}, "output": {"pages": 1}}, snapshot_at=START, legacy_at=START)
    with CaptureQueriesContext(connection) as queries:
        page = get(run)
    assert '"pages": 1' in text_of(page)
    assert "a secret" not in text_of(page)
    assert not [query for query in queries if "'state'" in query["sql"]]
    assert f'data-load="{address(run, "document", "state")}?part"' in page.content.decode()
    assert "a secret" in text_of(superuser().get(address(run, "document", "state")))


def test_large_documents_are_loaded_on_demand() -> None:
    run = make_run(input={"text": "x" * 50_000}, result={"output": "y" * 50_000})
    page = get(run).content.decode()
    assert "xxxxx" not in page
    assert "yyyyy" not in page
    for name in ("input", "output"):
        assert f'href="{address(run, "document", name)}"' in page
        assert len(superuser().get(address(run, "document", name), {"part": ""}).content) > 50_000


@pytest.mark.parametrize("name", ["output", "state", "error", "nothing", "result"])
def test_missing_documents_are_not_found(name: str) -> None:
    assert superuser().get(address(make_run(), "document", name)).status_code == 404


def test_the_previous_and_next_runs_of_the_project_are_linked() -> None:
    project = ProjectFactory()
    runs = [make_run(id=f"run-{n}", project=project, started_at=START + timedelta(hours=n)) for n in range(3)]
    first, middle, last = (get(run).content.decode() for run in runs)
    assert f'href="{address(runs[0])}">← Previous run of the project' in middle
    assert f'href="{address(runs[2])}">Next run of the project →' in middle
    assert "Previous run" not in first
    assert "Next run" not in last


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "pending"}, ["pending", "Recorded", "waiting", "No events yet: the run is pending."]),
        ({"status": "running"}, ["running", "so far", "No events yet.", "Reload"]),
        ({"status": "succeeded"}, ["succeeded", "none, or deleted", "This run has no events."]),
        ({"status": "canceled", "error": "KeyboardInterrupt"}, ["canceled", "KeyboardInterrupt"]),
        ({"input": None, "result": None}, ["succeeded"]),
        ({"result": "odd"}, ["succeeded"]),
        ({"result": ["output"]}, ["succeeded"]),
    ],
)
def test_every_kind_of_run_has_a_page(fields: dict[str, Any], words: list[str]) -> None:
    text = text_of(get(make_run(**fields)))
    assert [word for word in words if word not in text] == []


def test_an_unknown_run_redirects_with_a_message() -> None:
    client = superuser()
    response = client.get(address("nothing"), follow=True)
    assert "Perhaps it was deleted?" in text_of(response)
    assert client.get("/admin/agentstate/agentworkflowrun/a%00b/change/").status_code == 404
    for view, more in (("live", ()), ("payload", ("x",)), ("document", ("input",)), ("download", ())):
        assert client.get(address("nothing", view, *more)).status_code == 404


def test_a_run_with_an_odd_id_has_a_page() -> None:
    run = make_run(id=ODD_ID, input=1)
    event = add_event(run, "note", "[1, 2]")
    client = superuser()
    assert [client.get(each).status_code for each in every_address(run, event)] == [200, 200, 200, 302, 200, 200]
    page = client.get(address(run), {"event": event})
    assert len(lines(page)) == 1
    assert "data-chosen" in page.content.decode()


# -- the download


def test_the_download_is_a_file_of_json() -> None:
    run = make_run(id=ODD_ID, project=ProjectFactory())
    add_events(run, 1_500)
    response = superuser().get(address(run, "download"))
    assert response.streaming
    assert response.headers["Content-Type"] == "application/json"
    assert re.fullmatch(r'attachment; filename\S*legacy_a_b_\S+\.json"?', response.headers["Content-Disposition"])
    document = json.loads(b"".join(response.streaming_content))
    assert (document["id"], len(document["events"])) == (ODD_ID, 1_500)
