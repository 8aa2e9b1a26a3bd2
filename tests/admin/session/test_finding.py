"""Finding entries of a long conversation: by text, role, number or time, with the run's tool calls between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from agentstate.admin.session import conversation, tool_calls
from agentstate.models import AgentSession, AgentSessionEntry
from tests.admin.session.session_pages import address_of
from tests.admin.viewers import superuser, viewer
from tests.factories import EventFactory, RunFactory, SessionFactory

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROLES = ("user", "assistant", "tool")


def entry(number: int, **more: Any) -> dict[str, Any]:
    at = f"{START + timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}"
    return {"role": ROLES[number % 3], "content": f"Said {number}.", "at": at, **more}


def make_session(number: int = 120, in_array: int = 60, **fields: Any) -> Any:
    """Make a session with so many entries, the first of them in the array."""
    session = SessionFactory(transcript_json=[entry(each) for each in range(1, in_array + 1)], **fields)
    AgentSessionEntry.objects.bulk_create(
        AgentSessionEntry(session=session, number=each, entry=entry(each)) for each in range(in_array + 1, number + 1)
    )
    AgentSession.objects.filter(pk=session.pk).update(further=number)
    return session


def page_of(session: Any, client: Any = None, **query: str) -> Any:
    page = (client or superuser()).get(address_of(session), query)
    assert page.status_code == 200
    return page


def numbers(page: Any) -> list[int]:
    return [each.number for each in page.context["found"].entries]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "SAID 7."}, [7]),
        ({"q": "said 11"}, [11, *range(110, 120)]),
        ({"q": "said 11", "role": "tool"}, [11, 110, 113, 116, 119]),
        ({"q": "nowhere"}, []),
        ({"q": "said 100%"}, []),
        ({"role": "unknown"}, []),
        ({"q": "said 11", "until": "60"}, [11]),
        ({"q": "\0said 7."}, [7]),
    ],
)
def test_entries_are_found_by_text_and_role(query: dict[str, str], found: list[int]) -> None:
    assert numbers(page_of(make_session(), **query)) == found


def test_matches_have_pages() -> None:
    session, client = make_session(200), superuser()
    page = page_of(session, client, q="said")
    shown = [numbers(page)]
    while page.context["older"]:
        page = client.get(address_of(session) + page.context["older"])
        shown.append(numbers(page))
    assert shown == [list(range(first, first + 50)) for first in (151, 101, 51, 1)]


def test_a_search_says_how_far_it_looked_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    session, client = make_session(), superuser()
    monkeypatch.setattr(conversation, "FIRST_STEP", 50)
    monkeypatch.setattr(conversation, "LARGEST_STEP", 50)
    monkeypatch.setattr(conversation, "time", SimpleNamespace(monotonic=count(0.0, 2.0).__next__))
    monkeypatch.setattr(conversation, "SECONDS", 2.0)
    page = page_of(session, client, q="said 7.")
    assert "looked at 0 of 120 entries" in page.content.decode()
    monkeypatch.setattr(conversation, "SECONDS", 3.0)
    looked = 0
    while not numbers(page):
        page, looked = client.get(address_of(session) + page.context["older"]), looked + 1
    assert (numbers(page), looked) == ([7], 3)


def test_roles_and_contents_of_any_kind_are_found() -> None:
    session = SessionFactory(transcript_json=[{"content": "no role"}, {"role": 3, "content": {"a": "deep"}}, "text"])
    assert numbers(page_of(session, role="unknown")) == [1, 2, 3]
    assert numbers(page_of(session, q="DEEP")) == [2]


@pytest.mark.parametrize(
    ("go", "number"),
    [
        ("40", 40),
        ("0", 1),
        ("1,000", 120),
        ("2026-01-01 13:30", 90),
        ("2026-01-01T12:30:30Z", 31),
        ("2026-01-02", 120),
        ("2025-12-31", 1),
    ],
)
def test_one_goes_to_a_number_or_a_time(go: str, number: int) -> None:
    session = make_session()
    answer = superuser().get(address_of(session), {"go": go})
    assert answer["Location"] == f"{address_of(session)}?from={number}#entry-{number}"


@pytest.mark.parametrize("go", ["soon", "2026-99-99", "\u0663"])
def test_what_is_neither_a_number_nor_a_time_is_reported(go: str) -> None:
    page = page_of(make_session(), go=go)
    assert "is neither a number nor a time" in page.content.decode()
    assert page.context["window"].last == 120


def test_the_runs_tool_calls_stand_between_the_entries_on_request() -> None:
    run = RunFactory()
    session = make_session(project=run.project, agent_run=run)
    events = [
        EventFactory(
            run=run,
            type=type_,
            payload={"tool": "search", "status": "ok"},
            created_at=START + timedelta(minutes=minutes),
        )
        for type_, minutes in (
            ("tool.invocation", 0),
            ("tool.result", 72.5),
            ("state.changed", 80.5),
            ("tool.invocation", 119.5),
            ("tool.result", 500),
        )
    ]

    def places(**query: str) -> list[Any]:
        items = page_of(session, **query).context["items"]
        return [
            (item.event_id, items[place - 1].number if place else 0)
            for place, item in enumerate(items)
            if isinstance(item, tool_calls.ToolEvent)
        ]

    assert places() == []
    assert places(calls="1") == [(events[1].pk, 72), (events[3].pk, 119), (events[4].pk, 120)]
    assert places(calls="1", **{"from": "1"}) == [(events[0].pk, 0)]
    assert f"?event={events[1].pk}" in page_of(session, calls="1").content.decode()
    assert page_of(session, viewer("agentsession"), calls="1").context["items"][0].number == 71


def test_many_tool_calls_are_cut_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_calls, "CALLS", 1)
    run = RunFactory()
    for number in range(2):
        EventFactory(run=run, type="tool.result", payload={}, created_at=START + timedelta(seconds=number))
    page = page_of(make_session(project=run.project, agent_run=run), calls="1", **{"from": "1"})
    assert "Only the first 1 of the tool calls are shown." in page.content.decode()
