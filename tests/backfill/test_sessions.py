"""The legacy chat becomes a transcript."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from agentstate.backfill import Counts, Outcome
from agentstate.backfill.verification import verify
from agentstate.models import AgentSession, AgentWorkflowRun
from tests import scenes
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db

CREATED = datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
AT = "2024-05-06T07:08:09.123Z"


def project_with(chat: str) -> str:
    """Make a project whose chat is this JSON text."""
    project = ProjectFactory(created_at=CREATED).id
    set_chat(project, chat)
    return project


def set_chat(project: str, chat: str) -> None:
    scenes.run_sql(
        """UPDATE "Project" SET meta = jsonb_build_object('kept', 0.10, 'chat', %s::jsonb) WHERE id = %s""",
        chat,
        project,
    )


def transcript(project: str) -> list[Any]:
    return AgentSession.objects.get(project=project).transcript_json


def test_the_session_records_its_source() -> None:
    project = project_with('[{"role": "user", "content": "Hello"}]')
    (chat,) = scenes.one("SELECT (meta -> 'chat')::text FROM \"Project\"")

    outcome = scenes.forward()

    assert (outcome.candidates, outcome.counts) == (0, Counts(sessions=1))
    session = AgentSession.objects.get()
    assert session.id == f"legacy_{project}"
    assert session.project_id == project
    assert session.agent_run_id is None
    assert session.memory_id is None
    assert session.transcript_json == [{"role": "user", "content": "Hello", "at": AT}]
    assert session.metadata == {
        "kind": "legacy_chat",
        "source": "Project.meta.chat",
        "userId": "user-1",
        "digest": hashlib.sha256(chat.encode()).hexdigest(),
    }
    assert session.created_at == session.updated_at == CREATED


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ('{"role": "user", "content": ""}', {"role": "user", "content": "", "at": AT}),
        (
            '{"role": "tool", "content": "x", "id": 7, "parts": [null]}',
            {"role": "tool", "content": "x", "id": 7, "parts": [None], "at": AT},
        ),
        ('{"role": "user", "content": "x", "at": "2020-01-01"}', {"role": "user", "content": "x", "at": "2020-01-01"}),
        ('{"role": "user", "content": "x", "at": 1577836800}', {"role": "user", "content": "x", "at": 1577836800}),
        ('{"role": "user", "content": "x", "at": null}', {"role": "user", "content": "x", "at": AT}),
        ('{"content": "x"}', {"role": "unknown", "content": '{"content": "x"}', "at": AT}),
        ('{"role": "user"}', {"role": "unknown", "content": '{"role": "user"}', "at": AT}),
        ('{"role": 1, "content": "x"}', {"role": "unknown", "content": '{"role": 1, "content": "x"}', "at": AT}),
        (
            '{"role": "user", "content": ["x", 0.10]}',
            {"role": "unknown", "content": '{"role": "user", "content": ["x", 0.10]}', "at": AT},
        ),
        (
            '{"role": null, "at": "2020-01-01"}',
            {"role": "unknown", "content": '{"at": "2020-01-01", "role": null}', "at": "2020-01-01"},
        ),
        ("{}", {"role": "unknown", "content": "{}", "at": AT}),
        ("null", {"role": "unknown", "content": "null", "at": AT}),
        ('"text"', {"role": "unknown", "content": '"text"', "at": AT}),
        ("1e30", {"role": "unknown", "content": "1" + "0" * 30, "at": AT}),
        ('[{"role": "user"}]', {"role": "unknown", "content": '[{"role": "user"}]', "at": AT}),
    ],
)
def test_an_entry_becomes_an_entry(entry: str, kept: dict[str, Any]) -> None:
    project = project_with(f'[{entry}, {{"role": "assistant", "content": "next"}}]')

    scenes.forward()

    assert transcript(project) == [kept, {"role": "assistant", "content": "next", "at": AT}]


def test_entries_stay_in_order() -> None:
    project = project_with(json.dumps([{"role": "user", "content": f"{number}"} for number in range(300)]))

    scenes.forward()

    assert [entry["content"] for entry in transcript(project)] == [f"{number}" for number in range(300)]


@pytest.mark.parametrize(
    ("chat", "kept"),
    [
        ('{"role": "user", "content": "x"}', {"role": "user", "content": "x", "at": AT}),
        ('{"messages": []}', {"role": "unknown", "content": '{"messages": []}', "at": AT}),
        ('"text"', {"role": "unknown", "content": '"text"', "at": AT}),
        ("0", {"role": "unknown", "content": "0", "at": AT}),
    ],
)
def test_a_chat_that_is_not_a_list_becomes_one_entry(chat: str, kept: dict[str, Any]) -> None:
    project = project_with(chat)

    scenes.forward()

    assert transcript(project) == [kept]


@pytest.mark.parametrize("chat", ["[]", "{}", "null"])
def test_a_chat_without_entries_makes_no_session(chat: str) -> None:
    project_with(chat)

    assert scenes.forward().counts == Counts()
    assert not AgentSession.objects.exists()


@pytest.mark.parametrize("meta", [None, "null", "[]", '["chat"]', '"chat"', "1", "{}", '{"Chat": [1]}'])
def test_a_meta_without_a_chat_makes_no_session(meta: str | None) -> None:
    project = ProjectFactory().id
    scenes.run_sql('UPDATE "Project" SET meta = %s::jsonb WHERE id = %s', meta, project)

    assert scenes.forward().counts == Counts()
    assert not AgentSession.objects.exists()


def test_an_empty_project_gets_a_session_and_no_run() -> None:
    project = project_with('["x"]')

    scenes.forward()

    assert scenes.standings() == {project: "empty"}
    assert not AgentWorkflowRun.objects.exists()
    assert AgentSession.objects.count() == 1


def test_a_second_pass_writes_nothing() -> None:
    project_with('["x"]')
    scenes.forward()
    rows = scenes.everything()

    assert scenes.forward().counts == Counts()
    assert scenes.everything() == rows


def test_a_longer_chat_changes_its_session() -> None:
    project = project_with('[{"role": "user", "content": "one"}]')
    scenes.forward()
    before = AgentSession.objects.get()
    set_chat(project, '[{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]')

    assert scenes.forward().counts == Counts(sessions=1)

    after = AgentSession.objects.get()
    assert [entry["content"] for entry in after.transcript_json] == ["one", "two"]
    assert after.metadata["digest"] != before.metadata["digest"]
    assert (after.id, after.created_at, after.updated_at) == (before.id, before.created_at, before.created_at)
    assert scenes.forward().counts == Counts()


def test_a_change_of_another_column_changes_nothing() -> None:
    project = project_with('["x"]')
    scenes.forward()
    scenes.run_sql("""UPDATE "Project" SET meta = meta || '{"other": 1}', name = 'new' WHERE id = %s""", project)

    assert scenes.forward().counts == Counts()


def test_a_session_with_new_entries_is_never_overwritten() -> None:
    project = project_with('["x"]')
    scenes.forward()
    scenes.run_sql(
        """UPDATE "AgentSession" SET transcript_json = transcript_json || '["from the runtime"]',
           updated_at = clock_timestamp() WHERE project_id = %s""",
        project,
    )
    set_chat(project, '["x", "y"]')
    rows = scenes.everything()

    assert scenes.forward(dry_run=True).counts == Counts()
    assert scenes.forward().counts == Counts()
    assert scenes.everything() == rows


@pytest.mark.django_db(transaction=True)
def test_a_session_extended_during_the_pass_is_not_overwritten() -> None:
    project = project_with('["x"]')
    scenes.forward()
    set_chat(project, '["y"]')
    outcomes: list[Outcome] = []

    with transaction.atomic():
        scenes.run_sql("""UPDATE "AgentSession" SET transcript_json = '["live"]', updated_at = clock_timestamp()""")
        other = scenes.start_and_wait_for_lock(lambda: outcomes.append(scenes.forward()))
    other.join()

    assert outcomes[0].counts == Counts()
    assert transcript(project) == ["live"]


def test_an_emptied_chat_leaves_its_session() -> None:
    project = project_with('["x"]')
    scenes.forward()
    set_chat(project, "[]")

    assert scenes.forward().counts == Counts()
    assert AgentSession.objects.count() == 1


def test_sessions_can_be_left_out() -> None:
    project_with('["x"]')

    assert scenes.forward(sessions=False).counts == Counts()
    assert not AgentSession.objects.exists()


@pytest.mark.parametrize("options", [{}, {"prefer": "legacy"}, {"force": True}])
def test_reverse_leaves_chats_and_sessions_unchanged(options: dict[str, Any]) -> None:
    project_with('["x"]')

    assert scenes.reverse(**options).counts == Counts()
    assert not AgentSession.objects.exists()


def test_a_dry_run_counts_sessions_and_makes_none() -> None:
    project_with('["x"]')
    project_with('["y"]')

    counts = scenes.forward(dry_run=True).counts

    assert counts.sessions == 2
    assert counts.size > 0
    assert not AgentSession.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_verification_names_a_session_that_a_pass_would_write() -> None:
    project = project_with('["x"]')
    assert verify().offenders == [(project, "session", "meta.chat")]
    scenes.forward()
    assert verify().clean
    set_chat(project, '["y"]')

    found = verify()

    assert not found.clean
    assert found.offenders == [(project, "session", "meta.chat")]


@pytest.mark.django_db(transaction=True)
class TestChangedIds:
    """An operator changes a project's id: its session is found by the project, and keeps its own id."""

    CHAT = '[{"role": "user", "content": "Hello"}]'

    @pytest.fixture
    def renamed(self) -> str:
        project = project_with(self.CHAT)
        scenes.forward()
        scenes.run_sql("""UPDATE "Project" SET id = 'renamed' WHERE id = %s""", project)
        return project

    def test_no_second_session_is_made(self, renamed: str) -> None:
        assert scenes.forward().counts.sessions == 0
        assert verify().clean
        assert AgentSession.objects.get().project_id == "renamed"

    def test_a_later_chat_goes_into_the_same_session(self, renamed: str) -> None:
        set_chat("renamed", '[{"role": "user", "content": "Later"}]')
        assert scenes.forward().counts.sessions == 1
        assert AgentSession.objects.get().id == f"legacy_{renamed}"
        assert transcript("renamed")[0]["content"] == "Later"

    def test_another_project_with_the_former_id_gets_a_session_of_its_own(self, renamed: str) -> None:
        ProjectFactory(id=renamed, created_at=CREATED)
        set_chat(renamed, '[{"role": "user", "content": "Another"}]')

        assert scenes.forward().counts.sessions == 1
        assert transcript("renamed")[0]["content"] == "Hello"
        assert transcript(renamed)[0]["content"] == "Another"
        assert AgentSession.objects.get(project=renamed).id.startswith(f"legacy_{renamed}_")
        assert scenes.forward().counts.sessions == 0
        set_chat(renamed, '[{"role": "user", "content": "Later"}]')
        assert scenes.forward().counts.sessions == 1
        assert transcript(renamed)[0]["content"] == "Later"
        assert transcript("renamed")[0]["content"] == "Hello"
        assert verify().clean
