"""What the list of runs is asked: tools, errors, texts, durations, minutes, backfilled runs, beginnings of ids."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin.run import listing
from tests.admin.viewers import superuser
from tests.factories import EventFactory, ProjectFactory, RunFactory, SessionFactory

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db

LIST = url_of("admin:agentstate_agentworkflowrun_changelist")
MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)


def shown(**parameters: str) -> list[str]:
    response = superuser().get(LIST, {name.replace("__", "-"): value for name, value in parameters.items()})
    assert response.status_code == 200
    return [run.pk for run in response.context["cl"].result_list]


def call(run: AgentWorkflowRun, tool: str, at: datetime, error: str = "", lasts: int = 1) -> None:
    EventFactory(run=run, type="tool.invocation", payload={"tool": tool, "arguments": {}}, created_at=at)
    result = {"tool": tool, "status": "error" if error else "ok", "error": error or None}
    EventFactory(run=run, type="tool.result", payload=result, created_at=at + timedelta(seconds=lasts))


def test_a_tool_lists_the_runs_that_called_it_each_once_by_its_newest_call() -> None:
    first, second, other = (RunFactory(id=name, started_at=MOMENT) for name in ("first", "second", "other"))
    for minute in range(5):
        call(first, "search", MOMENT + timedelta(minutes=minute))
    call(second, "search", MOMENT + timedelta(minutes=2, seconds=30))
    call(other, "search_web", MOMENT + timedelta(minutes=9))

    assert shown(tool="search") == ["first", "second"]
    assert shown(tool="search", started_at__until="2024-05-01T12:02") == ["second", "first"]
    assert shown(tool="nothing") == []
    assert len(shown(tool="search\0")) == 3  # no text has it: the form says so


def test_failed_calls_are_found_by_when_they_failed_and_lead_to_their_event() -> None:
    now = timezone.now()
    old = RunFactory(id="old", started_at=now - timedelta(hours=5), status="running")
    call(old, "search", now - timedelta(minutes=5), error="Timeout: no answer")
    call(old, "search", now - timedelta(minutes=3))
    call(RunFactory(id="earlier", started_at=now - timedelta(hours=5)), "search", now - timedelta(hours=2), error="x")
    call(RunFactory(id="fine", started_at=now), "search", now)

    asked = {"tool": "search", "call": "failed", "started_at-within": "1h"}
    response = superuser().get(LIST, asked)

    (run,) = response.context["cl"].result_list
    assert run.pk == "old"
    assert f"?event={run.call.pk}" in response.text
    assert "Timeout: no answer" in response.text
    assert shown(tool="search", call="failed") == ["old", "earlier"]
    assert shown(tool="search", call="failed", status="running") == ["old"]
    assert shown(tool="search", status="failed") == []


def test_pages_of_a_tool_show_no_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [RunFactory(id=f"run-{number:03}", started_at=MOMENT) for number in range(60)]
    for minute in range(3):
        for second, run in enumerate(runs):
            call(run, "search", MOMENT + timedelta(minutes=minute, seconds=second), lasts=0.5)
    client = superuser()

    first = client.get(LIST, {"tool": "search"}).context["cl"]
    second = client.get(LIST + first.older_link).context["cl"]
    back = client.get(LIST + second.newer_link).context["cl"]

    pages = [[run.pk for run in page.result_list] for page in (first, second, back)]
    assert pages[0] + pages[1] == [run.pk for run in reversed(runs)]
    assert pages[2] == pages[0]


def test_errors_that_differ_in_ids_numbers_and_addresses_are_one() -> None:
    errors = (
        "TimeoutError: run cm1x2y3z4a5b6c7d8e9f took 30.5 s at 0x7f3a2b\nTraceback …",
        "  TimeoutError: run 3f2504e0-4f89-11d3-9a0c-0305e82c3301 took 2 s at 0x7fff\r\nmore",
        "TimeoutError: the portal is closed",
    )
    for number, error in enumerate(errors):
        RunFactory(id=f"run-{number}", status="failed", error=error, started_at=MOMENT - timedelta(hours=number))
    RunFactory(status="succeeded", error=errors[0])

    assert shown(error="TimeoutError: run # took # s at #") == ["run-0", "run-1"]
    assert shown(error="TimeoutError: run # took # s at #", started_at__until="2024-05-01T11:30") == ["run-1"]
    assert shown(error="\0") == shown(error="") == []


@pytest.mark.parametrize(
    ("where", "ids"),
    [("", ["error"]), ("documents", ["output", "input"]), ("payloads", ["payload"]), ("all", [])],
    ids=["errors", "documents", "payloads", "all"],
)
def test_a_text_is_found_where_it_is_looked_for(where: str, ids: list[str]) -> None:
    text = 'The "50%_Ratio'
    RunFactory(id="input", input={"deep": ['the "50%_ratio" of']}, started_at=MOMENT)
    RunFactory(id="output", result={"output": text}, started_at=MOMENT + timedelta(minutes=1))
    RunFactory(id="error", error=text, started_at=MOMENT + timedelta(minutes=2))
    EventFactory(run=RunFactory(id="payload", started_at=MOMENT + timedelta(minutes=3)), payload={"a": text})
    RunFactory(input={"deep": "The '50__Ratio"}, started_at=MOMENT)

    assert shown(text='"50%_RATIO', where=where) == (ids or ["payload", "error", "output", "input"])


def test_a_search_whose_time_is_over_says_how_far_it_looked_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        RunFactory(id=f"run-{number:02}", input={"text": "x"}, started_at=MOMENT + timedelta(minutes=number))
    run = RunFactory(id="wanted", input={"text": "needle"}, started_at=MOMENT - timedelta(days=1))
    monkeypatch.setattr(listing, "SECONDS", 0)
    client, asked = superuser(), {"text": "needle", "where": "documents"}

    stopped = client.get(LIST, asked)
    assert stopped.context["cl"].result_list == []
    assert "Looked at" in stopped.text

    monkeypatch.undo()
    assert [each.pk for each in client.get(LIST, asked).context["cl"].result_list] == [run.pk]


def test_runs_are_filtered_and_ordered_by_duration() -> None:
    for seconds in (5, 120, 60, 0):
        RunFactory(id=f"{seconds} s", started_at=MOMENT, completed_at=MOMENT + timedelta(seconds=seconds))
    RunFactory(id="running", status="running", completed_at=None)

    assert shown(order="duration") == ["120 s", "60 s", "5 s"]
    assert shown(order="shortest") == ["5 s", "60 s", "120 s"]
    assert shown(order="duration", longer="59.5") == ["120 s", "60 s"]
    assert shown(order="shortest", longer="59.5") == ["60 s", "120 s"]
    assert set(shown(longer="5")) == {"120 s", "60 s"}
    assert shown(order="duration", status="failed") == []
    assert len(shown(longer="nonsense")) == len(shown(longer="-1")) == 5


def test_times_are_taken_to_the_minute_in_the_zone_that_is_named() -> None:
    for second in (0, 59, 60):
        RunFactory(id=f"at {second}", started_at=MOMENT + timedelta(seconds=second))
    page = superuser().get(LIST, {"started_at-since": "2024-05-01T12:00", "started_at-until": "2024-05-01T12:00"})
    assert [run.pk for run in page.context["cl"].result_list] == ["at 59", "at 0"]
    assert "Times in UTC" in page.text


def test_backfilled_runs_are_left_out_once_there_are_others() -> None:
    backfilled = RunFactory(id="backfilled", workflow_id="legacy_snapshot", state={}, started_at=MOMENT)
    assert shown() == ["backfilled"]

    RunFactory(id="live", started_at=MOMENT - timedelta(days=1))
    RunFactory(id="saved", state={}, started_at=MOMENT - timedelta(days=2))
    assert shown() == ["live", "saved"]
    assert shown(status="succeeded", snapshot="yes") == ["saved"]
    assert shown(backfilled="with") == ["backfilled", "live", "saved"]
    assert shown(workflow="legacy_snapshot") == shown(q="backfilled") == ["backfilled"]
    assert shown(q=backfilled.project_id) == ["backfilled"]


def test_runs_are_found_by_how_ids_memories_and_workflows_begin() -> None:
    project = ProjectFactory(id="proj")
    run = RunFactory(id="legacy_cm1234567890abcdefghij_171456", project=project, workflow_id="normalize_rfp")
    other = RunFactory(id="other", project=project, workflow_id="draft")
    SessionFactory(id="sess-1", project=project, agent_run=other, memory_id="memory of Ada")

    assert shown(q="legacy_cm1234567890abcdefghij_17") == shown(q="legacy_cm") == [run.pk]
    assert shown(q="legacy-cm") == shown(q="legacy_cm1234567890abcdefghij_18") == []
    assert shown(q="sess") == shown(q="memory of") == shown(q="DRA") == ["other"]
    assert shown(q="normal") == [run.pk]


@pytest.mark.parametrize(
    ("order", "numbers", "words"),
    [
        ("newest", range(60, 0, -1), "Newer Older"),
        ("oldest", range(1, 61), "Older Newer"),
        ("duration", range(60, 0, -1), "Previous Next"),
        ("shortest", range(1, 61), "Previous Next"),
    ],
)
def test_pages_lead_to_each_other_in_each_order(order: str, numbers: range, words: str) -> None:
    project = ProjectFactory()
    for number in range(1, 61):
        start = MOMENT + timedelta(minutes=number)
        end = start + timedelta(seconds=number)
        RunFactory(id=f"run {number:02}", project=project, started_at=start, completed_at=end)
    client = superuser()
    first = client.get(LIST, {"order": order}).context["cl"]
    second = client.get(LIST + first.older_link).context["cl"]
    again = client.get(LIST + second.newer_link).context["cl"]
    assert [run.pk for run in [*first.result_list, *second.result_list]] == [f"run {number:02}" for number in numbers]
    assert again.result_list == first.result_list
    assert f"{first.words['before']} {first.words['after']}" == words


def test_the_titles_of_columns_lead_to_the_other_order() -> None:
    run = RunFactory(started_at=MOMENT, completed_at=MOMENT + timedelta(seconds=5))

    def sorting(page: str) -> dict[str, tuple[str, str]]:
        heads = re.findall(r"<th .*?</th>", page, re.DOTALL)
        found = [
            re.search(r'column-(\w+)"(?: aria-sort="(\w+)")?>.*href="([^"]*)"', head, re.DOTALL) for head in heads
        ]
        return {each[1]: (each[2] or "", unescape(each[3])) for each in found if each}

    assert sorting(opened(f"{LIST}?status={run.status}")) == {
        "started": ("descending", f"?order=oldest&status={run.status}"),
        "duration": ("", f"?order=duration&status={run.status}"),
    }
    assert sorting(opened(f"{LIST}?order=newest"))["started"] == ("descending", "?order=oldest")
    assert sorting(opened(f"{LIST}?order=oldest"))["started"] == ("ascending", "?")
    assert sorting(opened(f"{LIST}?order=duration")) == {
        "started": ("", "?"),
        "duration": ("descending", "?order=shortest"),
    }


def test_calls_of_a_tool_come_the_oldest_first_too() -> None:
    for number in range(3):
        call(RunFactory(id=f"run-{number}", started_at=MOMENT), "search", MOMENT + timedelta(minutes=number))
    assert shown(tool="search", order="oldest") == ["run-0", "run-1", "run-2"]
    page = superuser().get(LIST, {"tool": "search", "order": "duration"})
    assert [run.pk for run in page.context["cl"].result_list] == ["run-2", "run-1", "run-0"]
    assert "come by their newest call" in page.text
    assert "aria-sort" not in page.text


def opened(address: str) -> str:
    response = superuser().get(address)
    assert response.status_code == 200
    return response.text


def links_of(page: str) -> dict[str, str]:
    """Return the addresses of the links beside the title, by their words."""
    found = re.findall(r'<li><a href="([^"]*)">([^<]*(?:run|list)[^<]*)</a>', page)
    return {re.sub(r"[←→]", "", words).strip(): unescape(address) for address, words in found}


def test_previous_and_next_walk_the_list_that_one_came_from() -> None:
    for number in range(4):
        status = "succeeded" if number == 2 else "failed"
        RunFactory(id=f"run-{number}", status=status, started_at=MOMENT - timedelta(minutes=number))
    page = opened(f"{LIST}?status=failed")
    (address,) = re.findall(r'href="([^"]*run-1/change[^"]*)"', page)

    links = links_of(opened(unescape(address)))

    assert links.keys() == {"Back to the list", "Previous run in the list", "Next run in the list"}
    assert links["Back to the list"] == f"{LIST}?status=failed"
    assert "/run-0/" in links["Previous run in the list"]
    assert "/run-3/" in links["Next run in the list"]
    assert links_of(opened(links["Next run in the list"])).keys() == {"Back to the list", "Previous run in the list"}


def test_neighbours_in_the_list_of_a_tool_are_the_next_calls() -> None:
    for number in range(3):
        call(RunFactory(id=f"run-{number}", started_at=MOMENT), "search", MOMENT + timedelta(minutes=number))
    page = opened(f"{LIST}?tool=search")
    (address,) = re.findall(r'href="([^"]*run-1/change/\?event[^"]*)"', page)

    links = links_of(opened(unescape(address)))

    assert re.search(r"/run-2/change/\?event=", links["Previous run in the list"])
    assert re.search(r"/run-0/change/\?event=", links["Next run in the list"])


@pytest.mark.parametrize("filters", ["nonsense__lookup=1", "order=duration", "after=x", "%00"], ids=str)
def test_an_address_with_another_list_shows_the_run(filters: str) -> None:
    run = RunFactory(status="running", completed_at=None)
    address = url_of("admin:agentstate_agentworkflowrun_change", args=[run.pk])
    assert "in the list" not in opened(f"{address}?_changelist_filters={filters}").replace("run in the list", "")
