"""Sessions: their list, and each as a conversation that is shown as text, in stretches of a few entries."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils.html import escape

from agentstate import sessions
from agentstate.admin.session.conversation import CHARACTERS, ENTRIES, LONG_CHARACTERS
from tests import scenes
from tests.admin.session.session_pages import address_of, entries_of, text_of
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, RunFactory, SessionFactory
from tests.sql import tell_planner

pytestmark = pytest.mark.django_db

LIST = url_of("admin:agentstate_agentsession_changelist")
MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)
NASTY = '<script>alert(1)</script></textarea>"\u202e&amp;'


def conversation(*entries: Any) -> list[str]:
    """Return the entries of a transcript as a superuser's page shows them."""
    session = SessionFactory(transcript_json=list(entries))
    return entries_of(text_of(superuser(), address_of(session)))


# -- a conversation


def test_an_entry_has_its_role_time_and_content() -> None:
    session = SessionFactory()
    sessions.append(session.pk, "user", "One line,\n\nanother.", MOMENT + timedelta(microseconds=5))

    (entry,) = entries_of(text_of(superuser(), address_of(session)))

    assert 'data-role="user"' in entry
    assert "<strong><bdi>user</bdi></strong>" in entry
    assert "2024-05-01 12:00:00 UTC" in entry
    assert '<div class="agentstate-said" dir="auto">One line,\n\nanother.</div>' in entry


def test_content_that_is_json_is_formatted_and_each_entry_has_its_raw_json_folded() -> None:
    (entry,) = conversation({"role": "tool", "content": {"n": 1}, "at": "2024-05-01T12:00:00Z", "name": "search"})
    assert escape('{\n  "n": 1\n}') in entry
    assert re.search(r"<details[^>]*><summary>Raw</summary>", entry)
    assert escape('"name": "search"') in entry


@pytest.mark.parametrize(
    "content",
    [
        {"type": "user_message", "id": "m", "content": [{"text": "One."}, {"text": "Two."}]},
        {"type": "sdk_hidden_context", "content": "One.\nTwo."},
        [{"type": "input_text", "text": "One.\nTwo."}],
    ],
    ids=["an item of ChatKit", "an item without parts", "parts alone"],
)
def test_a_message_of_a_framework_is_shown_as_its_text(content: Any) -> None:
    (entry,) = conversation({"role": "user", "content": content, "at": "2024-05-01T12:00:00Z"})
    assert '<div class="agentstate-said" dir="auto">One.\nTwo.</div>' in entry


def test_parts_that_are_not_all_text_are_shown_as_json() -> None:
    parts = [{"text": "One."}, {"type": "input_image", "image_url": "data:"}]
    for content in (parts, {"content": parts}, {"content": []}, {"content": {"text": "One."}}):
        (entry,) = conversation({"role": "user", "content": content, "at": "2024-05-01T12:00:00Z"})
        assert escape(json.dumps(content, indent=2)) in entry


ODD = {
    "text": "just text",
    "a number": 5,
    "null": None,
    "a list": [1, 2],
    "without a role": {"content": "said", "at": "2024-05-01T12:00:00Z"},
    "with a role that is none": {"role": 7, "content": "said"},
    "without a content": {"role": "user"},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_entry_is_shown_as_json_and_breaks_nothing(odd: Any) -> None:
    before, entry, after = conversation(
        {"role": "user", "content": "before"}, odd, {"role": "user", "content": "after"}
    )
    assert "before" in before
    assert "after" in after
    assert 'data-role="unknown"' in entry
    shown = re.sub(r"<[^>]+>|\s", "", entry)
    for value in odd.values() if isinstance(odd, dict) else [odd]:
        assert escape(json.dumps(value).replace(" ", "")) in shown


@pytest.mark.parametrize("at", ["yesterday", "2024-05-01T12:00:00", "0001-01-01T00:00:00+14:00", "x" * 500, NASTY])
def test_an_invalid_time_is_shown_as_stored(at: str) -> None:
    (entry,) = conversation({"role": "user", "content": "said", "at": at})
    assert f"<bdi>{escape(at[:100])}</bdi>" in entry


def test_an_entry_without_a_time_says_so() -> None:
    (entry,) = conversation({"role": "user", "content": "said"})
    assert "without a time" in entry


def test_content_is_escaped() -> None:
    project = ProjectFactory(id=f"p/{NASTY}", name=NASTY)
    run = RunFactory(id=f"r/{NASTY}", workflow_id=NASTY, project=project)
    session = SessionFactory(
        id=f"s/{NASTY}",
        project=project,
        agent_run=run,
        memory_id=NASTY,
        metadata={NASTY: NASTY},
        transcript_json=[
            {"role": NASTY, "content": NASTY, "at": NASTY, NASTY: NASTY},
            {"role": "a", "content": [NASTY]},
        ],
    )
    client = superuser()
    for address in (LIST, address_of(session), address_of(session, "entry", number=1)):
        page = text_of(client, address)
        assert "<script>alert" not in page
        assert "</textarea>" not in page
        assert escape(NASTY) in page


def test_deep_nesting_is_shown() -> None:
    session = SessionFactory()
    scenes.run_sql(
        """UPDATE "AgentSession" SET transcript_json = jsonb_build_array(jsonb_build_object('role', 'tool', 'content',
               (repeat('[', 1500) || repeat(']', 1500))::jsonb)) WHERE id = %s""",
        session.pk,
    )
    (entry,) = entries_of(text_of(superuser(), address_of(session)))
    assert entry.count("[") >= 1500


def test_long_text_is_cut_in_the_database_longer_on_its_own_page_and_whole_as_json() -> None:
    session = SessionFactory(transcript_json=[{"role": "user", "content": "ab" * 2_500_000, "at": None}])
    client = superuser()

    page = text_of(client, address_of(session))

    assert len(page) < 50_000
    assert "ab" * (CHARACTERS // 2) in page
    own = address_of(session, "entry", number=1)
    assert f'href="{own}"' in page
    assert "ab" * (LONG_CHARACTERS // 2) in text_of(client, own)
    assert "Only the beginning is shown." in text_of(client, own)
    response = client.get(address_of(session, "entry_json", number=1))
    assert response.headers["Content-Disposition"] == 'attachment; filename="entry-1.json"'
    assert json.loads(response.content) == session.transcript_json[0]


def test_long_json_is_cut_too() -> None:
    (entry,) = conversation({"role": "tool", "content": [{"text": "ab" * 10_000}] * 3})
    assert len(entry) < 20_000
    assert "Show more of entry 1" in entry


def test_the_facts_link_to_the_project_and_the_run() -> None:
    run = RunFactory(workflow_id="intake", status="running")
    session = SessionFactory(project=run.project, agent_run=run, memory_id="memory 1", metadata={"kind": "test"})
    page = text_of(superuser(), address_of(session))
    assert f'href="{url_of("admin:agentstate_project_change", args=[run.project_id])}"' in page
    assert f'href="{url_of("admin:agentstate_agentworkflowrun_change", args=[run.pk])}"' in page
    assert 'data-status="running"' in page
    assert "memory 1" in page
    assert escape('"kind": "test"') in page
    assert "This session has no entries." in page


# -- what is not there


@pytest.mark.parametrize("number", [0, 3, 2**30, 10**20])
def test_an_unknown_entry_is_not_found(number: int) -> None:
    session = SessionFactory(transcript_json=[1, 2])
    client = superuser()
    for view in ("entry", "entry_json"):
        assert client.get(address_of(session, view, number=number)).status_code == 404


def test_an_unknown_session_is_not_found() -> None:
    client = superuser()
    for pk in ("gone", "\0"):
        gone = SessionFactory.build(id=pk, project=None)
        assert client.get(address_of(gone)).status_code == 302
        assert client.get(address_of(gone, "entry", number=1)).status_code == 404


# -- who sees it


def pages(session: Any) -> list[str]:
    return [
        LIST,
        address_of(session),
        address_of(session, "entry", number=1),
        address_of(session, "entry_json", number=1),
    ]


def test_a_viewer_of_sessions_sees_the_project_and_run_as_text() -> None:
    run = RunFactory(workflow_id="intake", project=ProjectFactory(name="Trails"))
    session = SessionFactory(project=run.project, agent_run=run, transcript_json=[1])
    client = viewer("agentsession")
    assert [client.get(address).status_code for address in pages(session)] == [200] * 4
    for address in (LIST, address_of(session)):
        page = text_of(client, address)
        assert ">Trails</bdi>" in page
        assert ">intake</bdi>" in page
        assert "agentstate/project/" not in page
        assert "agentstate/agentworkflowrun/" not in page


def test_staff_without_permissions_get_no_sessions() -> None:
    session = SessionFactory(transcript_json=[1])
    stranger, other, nobody = viewer(), viewer("project", "agentworkflowrun"), Client()
    for address in pages(session):
        assert stranger.get(address).status_code == 403
        assert other.get(address).status_code == 403
        response = nobody.get(address)
        assert (response.status_code, response.headers["Location"]) == (302, f"{url_of('admin:login')}?next={address}")


def test_sessions_are_read_only() -> None:
    session = SessionFactory(transcript_json=[1])
    client = superuser()
    for address in pages(session)[1:]:
        assert client.post(address, {"memory_id": "x"}).status_code == 403


# -- the list


def shown(client: Client, **parameters: str) -> list[str]:
    response = client.get(LIST, parameters)
    assert response.status_code == 200
    return [session.pk for session in response.context["cl"].result_list]


def test_the_list_is_ordered_newest_first() -> None:
    older, newer = (SessionFactory(created_at=MOMENT + timedelta(days=day)) for day in range(2))
    assert shown(superuser()) == [newer.pk, older.pk]
    assert shown(superuser(), **{"created_at-until": "2024-05-01"}) == [older.pk]


@pytest.mark.parametrize("term", ["s1", "p1", "tra"])
def test_a_session_is_found_by_its_id_or_its_project(term: str) -> None:
    session = SessionFactory(id="s1", project=ProjectFactory(id="p1", name="Trails"))
    SessionFactory(id="s2", project=ProjectFactory(id="q1", name="Else"))
    assert shown(superuser(), q=term) == [session.pk]


@pytest.mark.parametrize("term", ["sess-one_", "memory of", "run_4", "DRA", "Trail"])
def test_sessions_are_found_by_how_ids_memories_runs_and_workflows_begin(term: str) -> None:
    trails, other = ProjectFactory(id="p1", name="Trails"), ProjectFactory(id="q1", name="Else")
    run = RunFactory(id="run_42", project=trails, workflow_id="draft")
    session = SessionFactory(id="sess-one_1", project=trails, agent_run=run, memory_id="memory of Ada")
    SessionFactory(id="sess-onex", project=other, agent_run=RunFactory(id="runx42", project=other, workflow_id="x"))
    assert shown(superuser(), q=term) == [session.pk]
    assert shown(superuser(), q=term, **{"created_at-until": "2000-01-01"}) == []


def test_of_many_workflows_that_begin_so_a_few_are_named() -> None:
    runs = [RunFactory(workflow_id=f"draft {number:02}") for number in range(12)]
    session = SessionFactory(project=runs[-1].project, agent_run=runs[-1])
    page = superuser().get(LIST, {"q": "draft"})
    assert [row.pk for row in page.context["cl"].result_list] == [session.pk]
    assert "draft 08, draft 09 and 2 more." in page.content.decode()


def test_a_session_is_found_by_its_id_that_ends_in_a_space() -> None:
    spaced, plain = (SessionFactory(id=name) for name in ("s1 ", "s1"))
    assert shown(superuser(), q="s1 ") == [spaced.pk]
    assert shown(superuser(), q=" s1") == [plain.pk]


def test_a_page_of_the_list_reads_its_rows_through_an_index() -> None:
    ProjectFactory(id="p")
    scenes.run_sql(
        """INSERT INTO "AgentSession" (id, project_id, transcript_json, metadata, created_at, updated_at)
           SELECT 's' || i, 'p', '[]', '{}', now() - i % 500 * interval '1 minute', now()
           FROM generate_series(1, 20000) i"""
    )
    tell_planner("AgentSession")
    client = superuser()
    place = client.get(LIST).context["cl"].page.after
    with CaptureQueriesContext(connection) as queries:
        client.get(LIST, {"after": place})
    (keys,) = [query["sql"] for query in queries if query["sql"].startswith("SELECT") and "id_hash" in query["sql"]]
    ((plan,),) = scenes.rows(f"EXPLAIN (FORMAT JSON) {keys}")
    assert plan[0]["Plan"]["Plans"][0]["Index Name"] == "AgentSession_created_idx"


def test_many_sessions_of_one_moment_are_paged_through() -> None:
    project = ProjectFactory()
    expected = {SessionFactory(project=project, created_at=MOMENT).pk for _ in range(ENTRIES * 2 + 5)}
    client, found, address = superuser(), [], ""
    for _ in itertools.count():
        changelist = client.get(LIST + address).context["cl"]
        found += [session.pk for session in changelist.result_list]
        address = changelist.older_link
        if not address:
            break
    assert (len(found), set(found)) == (len(expected), expected)
