"""A run's page over HTTP: what it says, whom it shows it to, and what it loads when."""

from __future__ import annotations

import html
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
from django.utils import timezone

from agentstate.timeline import filters
from tests import scenes
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, RunFactory, SessionFactory
from tests.rows import sql
from tests.timeline.scenes import START, add_call, add_event, add_events, make_run

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db

NASTY = '<script>alert(1)</script></textarea></pre>"\u202e&amp;'
# A run may have any id that a project's id is a part of.
ODD_ID = 'legacy_a/b "c"\u00fc<d>?#%_1'


def address(run: AgentWorkflowRun | str, view: str = "change", *more: str) -> str:
    run_id = run if isinstance(run, str) else run.pk
    return url_of(f"admin:agentstate_agentworkflowrun_{view}", args=[quote(run_id), *map(quote, more)])


def text_of(response: Any) -> str:
    """Return what a person reads on a page, in one line."""
    assert response.status_code == 200
    body = re.sub(r"<[^>]+>", " ", response.content.decode())
    return html.unescape(" ".join(body.split()))


def lines(response: Any) -> list[str]:
    """Return the rows of a page's timeline: offset, kind and what happened."""
    found = re.findall(r"<summary>\s*<span class=\"agentstate-at\".*?</summary>", response.content.decode(), re.DOTALL)
    return [html.unescape(" ".join(re.sub(r"<[^>]+>", " ", each).split())) for each in found]


def get(run: AgentWorkflowRun | str, **query: str) -> Any:
    return superuser().get(address(run), query)


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
def test_the_permission_to_view_runs_decides(client_of: Any, statuses: list[int]) -> None:
    run = make_run(input={"a": 1})
    event = add_event(run, "note")
    client = client_of()
    assert [client.get(each).status_code for each in every_address(run, event)] == statuses
    if statuses == [302] * 6:
        assert all("/login/" in client.get(each).url for each in every_address(run, event))


def test_nobody_writes() -> None:
    run = make_run()
    client = superuser()
    assert [client.post(each).status_code for each in every_address(run, "x")] == [403] * 6


def test_links_lead_only_where_a_viewer_may_go() -> None:
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


def test_a_long_first_line_of_an_error_is_all_there() -> None:
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


def test_large_documents_are_loaded_when_they_are_asked_for() -> None:
    run = make_run(input={"text": "x" * 50_000}, result={"output": "y" * 50_000})
    page = get(run).content.decode()
    assert "xxxxx" not in page
    assert "yyyyy" not in page
    for name in ("input", "output"):
        assert f'href="{address(run, "document", name)}"' in page
        assert len(superuser().get(address(run, "document", name), {"part": ""}).content) > 50_000


@pytest.mark.parametrize("name", ["output", "state", "error", "nothing", "result"])
def test_documents_that_are_not_there_are_not_found(name: str) -> None:
    assert superuser().get(address(make_run(), "document", name)).status_code == 404


def test_runs_of_the_project_are_one_step_away() -> None:
    project = ProjectFactory()
    runs = [make_run(id=f"run-{n}", project=project, started_at=START + timedelta(hours=n)) for n in range(3)]
    first, middle, last = (get(run).content.decode() for run in runs)
    assert f'href="{address(runs[0])}">← Previous run' in middle
    assert f'href="{address(runs[2])}">Next run →' in middle
    assert "Previous run" not in first
    assert "Next run" not in last


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "pending"}, ["pending", "Recorded", "waiting", "Nothing has happened yet: the run waits."]),
        ({"status": "running"}, ["running", "so far", "Nothing has happened yet.", "Reload"]),
        ({"status": "succeeded"}, ["succeeded", "none, or deleted", "This run left no events."]),
        ({"status": "canceled", "error": "KeyboardInterrupt"}, ["canceled", "KeyboardInterrupt"]),
        ({"input": None, "result": None}, ["succeeded"]),
        ({"result": "odd"}, ["succeeded"]),
        ({"result": ["output"]}, ["succeeded"]),
    ],
)
def test_every_kind_of_run_has_a_page(fields: dict[str, Any], words: list[str]) -> None:
    text = text_of(get(make_run(**fields)))
    assert [word for word in words if word not in text] == []


def test_an_unknown_run_leads_back_as_in_the_rest_of_the_admin() -> None:
    client = superuser()
    response = client.get(address("nothing"), follow=True)
    assert "Perhaps it was deleted?" in text_of(response)
    assert client.get("/admin/agentstate/agentworkflowrun/a%00b/change/").status_code == 404
    for view, more in (("live", ()), ("payload", ("x",)), ("document", ("input",)), ("download", ())):
        assert client.get(address("nothing", view, *more)).status_code == 404


def test_an_odd_id_is_no_obstacle() -> None:
    run = make_run(id=ODD_ID, input=1)
    event = add_event(run, "note", "[1, 2]")
    client = superuser()
    assert [client.get(each).status_code for each in every_address(run, event)] == [200, 200, 200, 302, 200, 200]
    page = client.get(address(run), {"event": event})
    assert len(lines(page)) == 1
    assert "data-chosen" in page.content.decode()


# -- the timeline


def test_rows_say_when_what_and_how_long() -> None:
    run = make_run()
    add_event(run, "snapshot.legacy", '{"keys": ["coverage", "facts"]}', 0.000001)
    add_event(run, "coverage.delta", '{"from": 0.42, "to": 0.61}', 0.25)
    add_call(run, "a", 1, 2.5, duration_ms="1234")
    add_call(run, "b", 3, 4, status='"error"', error='"TimeoutError: no answer"', duration_ms="1000")
    add_event(run, "eligibility.flag", '{"text": "must be a 501(c)(3)", "fatal": true}', 249.1)
    page = get(run)
    assert lines(page) == [
        "+1 µs snapshot.legacy snapshot of the legacy columns: coverage, facts",
        "+250 ms coverage.delta coverage 0.42 → 0.61",
        "+1.00 s tool tool fetch , 1.2 s",
        "+3.00 s tool tool fetch , 1.0 s failed TimeoutError: no answer",
        "+4:09.1 eligibility.flag eligibility, fatal: must be a 501(c)(3)",
    ]
    assert "idle 4 min 5 s" in text_of(page)


def test_a_backfilled_run_is_shown_in_its_order_without_an_axis() -> None:
    project = ProjectFactory(
        documents={
            "coverage": '{"score": 0.2}',
            "conflictLog": '[{"key": "budget", "previous": {"version": "1"}, "next": {"version": "2"}}, null]',
        }
    )
    scenes.forward(project.id)
    page = get(scenes.homes_of(project.id).newest.run)
    assert [line.split(" ", 2)[2] for line in lines(page)] == [
        "snapshot.legacy snapshot of the legacy columns: coverage, conflictLog",
        "coverage.delta coverage none → 0.2",
        "conflict.found conflict in section budget: v1 → v2",
        "conflict.found conflict: null",
    ]
    assert b"agentstate-bar" not in page.content


def test_small_payloads_are_there_and_large_ones_on_demand() -> None:
    run = make_run()
    add_event(run, "note", '{"n": 0.10, "big": 1e30}', 1)
    large = add_event(run, "note", f'{{"text": "{"x" * 10_000}"}}', 2)
    page = get(run).content.decode()
    assert "&quot;n&quot;: 0.10" in page
    assert "x" * 1_000 not in page
    assert f'href="{address(run, "payload", large)}"' in page


def test_a_payload_is_shown_on_a_page_as_a_part_and_as_a_file() -> None:
    run = make_run()
    event = add_event(run, "note", '{"n": 0.10, "text": "</pre>"}')
    client = superuser()
    url = address(run, "payload", event)
    assert '"n": 0.10' in text_of(client.get(url))
    part = client.get(url, {"part": ""}).content.decode()
    assert "<html" not in part
    assert "&lt;/pre&gt;" in part
    file = client.get(url, {"raw": ""})
    assert file.content.decode() == '{"n": 0.10, "text": "</pre>"}'
    assert file.headers["Content-Type"] == "application/json"
    assert file.headers["Content-Disposition"].startswith("attachment")
    assert client.get(address(run, "payload", "nothing")).status_code == 404
    assert client.get(address(make_run(), "payload", event)).status_code == 404


def test_of_a_huge_payload_the_beginning_is_shown() -> None:
    run = make_run()
    event = add_event(run, "note", f'{{"text": "{"x" * 5_000_000}"}}')
    response = superuser().get(address(run, "payload", event))
    assert len(response.content) < 300_000
    assert "The first 200,000 of 5,000,012 characters." in text_of(response)


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps({NASTY: NASTY, "text": NASTY, "key": NASTY, "tool": NASTY, "error": NASTY, "status": "error"}),
        json.dumps(NASTY),
        "[" * 5_000 + "]" * 5_000,
        '{"a":' * 5_000 + "null" + "}" * 5_000,
        f'"{NASTY[:8] * 600_000}"',
        "1e400",
    ],
    ids=["members", "text", "deep lists", "deep objects", "5 MB", "number"],
)
@pytest.mark.parametrize("type_", ["note", "tool.result", "conflict.found", "eligibility.flag", f"{NASTY}.x"])
def test_whatever_a_payload_holds_is_text(type_: str, payload: str) -> None:
    run = make_run(workflow_id=NASTY, error=NASTY, status="failed")
    event = add_event(run, type_, payload)
    client = superuser()
    for url in (address(run), address(run, "live"), address(run, "payload", event)):
        body = client.get(url).content.decode()
        assert "<script>alert" not in body
        assert "</textarea>" not in body
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", body)
    assert len(lines(client.get(address(run)))) == 1
    document = b"".join(client.get(address(run, "download")).streaming_content)
    assert document.count(b'"payload"') == 1


# -- places and filters


def test_one_goes_through_a_long_run_page_by_page() -> None:
    run = make_run()
    add_events(run, 250)
    client = superuser()
    page = client.get(address(run))
    seen = lines(page)
    while match := re.search(r'href="([^"]+)" rel="next"', page.content.decode()):
        page = client.get(address(run) + html.unescape(match[1]))
        seen += lines(page)
    assert len(seen) == 250
    assert seen[0].startswith("+1.00 s")
    assert seen[-1].startswith("+4:10.0")
    assert lines(client.get(address(run), {"at": "last"})) == seen[-100:]
    assert lines(client.get(address(run), {"at": "first"})) == seen[:100]


def test_a_running_run_is_shown_from_its_end() -> None:
    run = make_run(status="running")
    add_events(run, 150)
    assert lines(get(run))[-1].startswith("+2:30.0")
    assert lines(get(run, at="first"))[0].startswith("+1.00 s")


def test_a_link_to_an_event_shows_what_is_around_it() -> None:
    run = make_run()
    add_events(run, 500)
    page = get(run, event=f"{run.pk}-300")
    assert len(lines(page)) == 100
    chosen = re.findall(r"<li[^>]*data-key=\"([^\"]+)\"[^>]*data-chosen>", page.content.decode())
    assert chosen == [f"{run.pk}-300"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"event": "nothing"}, "This run has no event “nothing”."),
        ({"event": "\0<b>"}, "This run has no event “<b>”."),
        ({"after": "yesterday"}, "“yesterday” is no moment of a run."),
        ({"before": "9" * 40}, "is no moment of a run."),
        ({"after": "9" * 5000}, "is no moment of a run."),
        ({"after": "-99999999999999999999"}, "is no moment of a run."),
        ({"kind": "\0", "q": "\0", "at": "\0", "failures": "\0"}, "Timeline"),
    ],
)
def test_what_makes_no_sense_is_told(query: dict[str, str], problem: str) -> None:
    run = make_run()
    add_event(run, "note")
    page = get(run, **query)
    assert problem in text_of(page)
    assert len(lines(page)) == 1


def test_filters_are_links_that_keep_one_another() -> None:
    run = make_run()
    add_call(run, "a", 1, 2, status='"error"', error='"no page 7"')
    add_call(run, "b", 3, 4)
    add_event(run, "note", '"page 7"', 5)
    client = superuser()
    page = client.get(address(run), {"kind": "tool", "q": "page 7"})
    assert lines(page) == ["+2.00 s tool tool fetch , 1.0 s failed no page 7".replace(" , 1.0 s", "")]
    body = html.unescape(page.content.decode())
    assert 'href="?kind=tool&failures=1&q=page+7"' in body
    assert 'href="?kind=tool&kind=note&q=page+7"' in body
    assert 'href="?q=page+7" class="agentstate-chip" aria-current="true"' in body
    assert '<input type="hidden" name="kind" value="tool">' in body
    assert "No event matches." in text_of(client.get(address(run), {"q": "nothing like this"}))


def test_a_search_that_runs_out_of_time_says_how_far_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "SECONDS", 0.1)
    run = make_run()
    add_events(run, 60, "jsonb_build_object('text', repeat('straw ', 200000), 'n', n)")
    client = superuser()
    page = client.get(address(run), {"q": "needle"})
    text = text_of(page)
    looked_at, reached = re.findall(r"Looked at (\d+) events?, as far as (\S+)", text)[0]
    assert 0 < int(looked_at) < 60
    (onward,) = re.findall(r'href="([^"]+)">Go on from there', page.content.decode())
    further = text_of(client.get(address(run) + html.unescape(onward)))
    assert re.findall(r"as far as (\S+)", further) != [reached]


def test_a_filter_for_a_kind_that_the_run_has_not_can_be_taken_away() -> None:
    run = make_run()
    add_event(run, "note")
    page = get(run, kind="rare")
    assert lines(page) == []
    assert 'aria-current="true"><bdi>rare</bdi>' in page.content.decode()


def test_a_half_leads_to_the_other() -> None:
    run = make_run()
    add_call(run, "a", 1, 300)
    for place in range(2, 200):
        add_event(run, "note", at=place)
    client = superuser()
    assert "Go to its result, which comes later" in text_of(client.get(address(run)))
    response = client.get(address(run, "other_half", f"{run.pk}-1"))
    assert response.url == f"{address(run)}?event={run.pk}-300"
    lost = client.get(address(run, "other_half", f"{run.pk}-5"), follow=True)
    assert "The other half of this call was not found: there may be none." in text_of(lost)


def test_late_events_are_marked() -> None:
    run = make_run(status="failed", error="Closed as stale: no sign of life")
    add_event(run, "note", '{"$late": true, "n": 1}')
    assert lines(get(run)) == ["+1.00 s note note: n: 1 late"]


# -- following a run


def test_only_the_end_of_a_running_run_is_followed() -> None:
    run, ended = make_run(status="running"), make_run()
    add_events(run, 150)
    client = superuser()

    def is_followed(which: AgentWorkflowRun, **query: str) -> bool:
        return b"data-live-url" in client.get(address(which), query).content

    assert is_followed(run)
    assert is_followed(run, at="last")
    assert not is_followed(run, at="first")
    assert not is_followed(run, kind="note")
    assert not is_followed(run, q="n")
    assert not is_followed(run, event=f"{run.pk}-3")
    assert not is_followed(ended)


def test_following_answers_only_what_is_new() -> None:
    run = make_run(status="running", started_at=timezone.now())
    client = superuser()
    page = client.get(address(run))
    (pulse,) = re.findall(r'data-pulse="([^"]*)"', page.content.decode())

    assert client.get(address(run, "live"), {"pulse": pulse}).status_code == 204
    add_event(run, "note", '"new"')
    fresh = client.get(address(run, "live"), {"pulse": pulse})
    assert len(lines(fresh)) == 1
    assert "<html" not in fresh.content.decode()
    (pulse,) = re.findall(r'data-pulse="([^"]*)"', fresh.content.decode())
    assert client.get(address(run, "live"), {"pulse": pulse}).status_code == 204
    run.succeed()
    ended = client.get(address(run, "live"), {"pulse": pulse})
    assert 'data-status="succeeded"' in ended.content.decode()


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


# -- effort


def test_the_number_of_queries_does_not_depend_on_the_size() -> None:
    project = ProjectFactory()
    small, large = make_run(id="small", project=project), make_run(id="large", project=project)
    add_events(small, 3)
    add_events(large, 20_000)
    RunFactory.create_batch(3, project=project, started_at=START)
    client = superuser()
    for query in ({}, {"at": "last"}):
        numbers = []
        for run in (small, large):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address(run), query).status_code == 200
            numbers.append(len(queries))
        assert numbers[0] == numbers[1] <= 9


def test_a_page_stays_small_whatever_the_events_hold() -> None:
    run = make_run()
    add_events(run, 100, "jsonb_build_object('call_id', n::text, 'output', repeat('<x>', 1500000))")
    sql("UPDATE \"AgentWorkflowRun\" SET input = to_jsonb(repeat('x', 5000000)), error = repeat('e', 5000000)")
    assert len(get(run).content) < 300_000
