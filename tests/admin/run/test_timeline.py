"""A run's timeline over HTTP: its rows and their payloads, its places and filters, and how it is followed."""

from __future__ import annotations

import html
import json
import re
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentstate.admin.run.timeline import filters
from tests import scenes
from tests.admin.run.run_pages import NASTY, address, get, lines, text_of
from tests.admin.run.timeline.scenes import START, add_call, add_event, add_events, make_run
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory, RunFactory
from tests.sql import sql

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db


# -- rows and payloads


def test_rows_show_their_time_event_and_duration() -> None:
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


def test_a_backfilled_run_is_shown_in_order_without_an_axis() -> None:
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


def test_small_payloads_are_inline_and_large_ones_are_loaded_on_demand() -> None:
    run = make_run()
    add_event(run, "note", '{"n": 0.10, "big": 1e30}', 1)
    large = add_event(run, "note", f'{{"text": "{"x" * 10_000}"}}', 2)
    page = get(run).content.decode()
    assert "&quot;n&quot;: 0.10" in page
    assert "x" * 1_000 not in page
    assert f'href="{address(run, "payload", large)}"' in page


def test_a_payload_is_shown_on_a_page_and_as_a_file() -> None:
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


def test_only_the_beginning_of_a_huge_payload_is_shown() -> None:
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
def test_payloads_are_escaped(type_: str, payload: str) -> None:
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


def test_a_long_run_is_paged_through() -> None:
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


def test_a_running_run_opens_at_its_end() -> None:
    run = make_run(status="running")
    add_events(run, 150)
    assert lines(get(run))[-1].startswith("+2:30.0")
    assert lines(get(run, at="first"))[0].startswith("+1.00 s")


def test_a_link_to_an_event_shows_its_neighbours() -> None:
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
        ({"after": "yesterday"}, "“yesterday” is not a valid position in a run."),
        ({"before": "9" * 40}, "is not a valid position in a run."),
        ({"after": "9" * 5000}, "is not a valid position in a run."),
        ({"after": "-99999999999999999999"}, "is not a valid position in a run."),
        ({"kind": "\0", "q": "\0", "at": "\0", "failures": "\0"}, "Timeline"),
    ],
)
def test_invalid_parameters_are_reported(query: dict[str, str], problem: str) -> None:
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
    assert lines(page) == ["+1.00 s tool tool fetch , 1.0 s failed no page 7"]
    body = html.unescape(page.content.decode())
    assert 'href="?kind=tool&failures=1&q=page+7"' in body
    assert 'href="?kind=tool&kind=note&q=page+7"' in body
    assert 'href="?q=page+7" class="agentstate-chip" aria-current="true"' in body
    assert '<input type="hidden" name="kind" value="tool">' in body
    assert "No event matches." in text_of(client.get(address(run), {"q": "nothing like this"}))


def test_a_search_that_runs_out_of_time_says_how_far_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "SECONDS", 60.0)
    # A clock by which a minute is over after one look.
    monkeypatch.setattr(filters, "time", SimpleNamespace(monotonic=count(0.0, 30.0).__next__))
    run = make_run()
    add_events(run, 60)
    client = superuser()
    page = client.get(address(run), {"q": "needle"})
    text = text_of(page)
    looked_at, reached = re.findall(r"Searched (\d+) events? up to ([^\s,]+)", text)[0]
    assert looked_at == "1"
    (onward,) = re.findall(r'href="([^"]+)">Continue from there', page.content.decode())
    further = text_of(client.get(address(run) + html.unescape(onward)))
    assert re.findall(r"up to ([^\s,]+)", further) != [reached]


def test_a_filter_for_an_absent_kind_can_be_removed() -> None:
    run = make_run()
    add_event(run, "note")
    page = get(run, kind="rare")
    assert lines(page) == []
    assert 'aria-current="true"><bdi>rare</bdi>' in page.content.decode()


def test_events_without_a_type_can_be_filtered() -> None:
    run = make_run()
    add_event(run, "", at=1)
    add_event(run, "note", at=2)
    page = get(run, kind="")
    assert lines(page) == ["+1.00 s an event without a type"]
    assert 'href="?" class="agentstate-chip" aria-current="true"><bdi>without a type</bdi>' in page.content.decode()


def test_one_half_of_a_call_links_to_the_other() -> None:
    run = make_run()
    add_call(run, "a", 1, 300)
    for place in range(2, 200):
        add_event(run, "note", at=place)
    client = superuser()
    assert "Go to its result (later)" in text_of(client.get(address(run)))
    response = client.get(address(run, "other_half", f"{run.pk}-1"))
    assert response.url == f"{address(run)}?event={run.pk}-300#chosen"
    lost = client.get(address(run, "other_half", f"{run.pk}-5"), follow=True)
    assert "The other half of this call was not found." in text_of(lost)


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


def test_following_returns_only_new_events() -> None:
    run = make_run(status="running", started_at=timezone.now())
    client = superuser()
    page = client.get(address(run))
    (pulse,) = re.findall(r'data-pulse="([^"]*)"', page.content.decode())

    assert client.get(address(run, "live"), {"pulse": pulse}).status_code == 204
    add_event(run, "note", '"new"')
    fresh = client.get(address(run, "live"), {"pulse": pulse})
    assert len(lines(fresh)) == 1
    assert 'href="?kind=note" class="agentstate-chip"' in fresh.content.decode()
    assert "<html" not in fresh.content.decode()
    (pulse,) = re.findall(r'data-pulse="([^"]*)"', fresh.content.decode())
    assert client.get(address(run, "live"), {"pulse": pulse}).status_code == 204
    run.succeed()
    ended = client.get(address(run, "live"), {"pulse": pulse})
    assert 'data-status="succeeded"' in ended.content.decode()


def test_following_keeps_the_filters_of_the_list() -> None:
    run = make_run(status="running", error="no page 7")
    add_event(run, "tool.error")
    client = superuser()
    page = client.get(address(run), {"_changelist_filters": "status=running"})
    live = html.unescape(re.findall(r'data-live-url="([^"]*)"', page.text)[0])
    links = re.findall(r'href="(\?event=[^"]*|\?failures=1[^"]*)"', client.get(live).text)
    assert links
    assert all("_changelist_filters=status%3Drunning" in link for link in links)


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


def test_following_costs_the_same_at_any_size() -> None:
    small, large = make_run(id="small", status="running"), make_run(id="large", status="running")
    add_events(small, 3)
    add_events(large, 20_000)
    client = superuser()
    numbers = []
    for run in (small, large):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address(run, "live")).status_code == 200
        numbers.append(len(queries))
    assert numbers[0] == numbers[1] <= 8


def test_the_size_of_a_page_does_not_depend_on_its_events() -> None:
    run = make_run()
    add_events(run, 100, "jsonb_build_object('call_id', n::text, 'output', repeat('<x>', 1500000))")
    sql("UPDATE \"AgentWorkflowRun\" SET input = to_jsonb(repeat('x', 5000000)), error = repeat('e', 5000000)")
    assert len(get(run).content) < 300_000
