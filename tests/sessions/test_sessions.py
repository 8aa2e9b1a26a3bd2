"""Transcripts: opened once, added to by many, read from their end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction

from agentstate.models import AgentSession
from agentstate.recording import RunNotFound, record
from agentstate.sessions import SessionNotFound, append, open_for, transcript
from agentstate.state import ProjectNotFound, UnsuitableRun
from tests.factories import ProjectFactory, RunFactory, SessionFactory
from tests.flags import rolled_back
from tests.scenes import forward, make_project, start_and_wait_for_lock
from tests.sql import scalar, sql

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


def in_threads(act: Callable[[int], Any], number: int, threads: int) -> list[Any]:
    """Act so many times in so many threads, each with its own connection."""
    barrier = threading.Barrier(threads)

    def act_and_close(first: int) -> list[Any]:
        barrier.wait()
        try:
            return [act(place) for place in range(first, number, threads)]
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return [each for part in pool.map(act_and_close, range(threads)) for each in part]


# -- opening


def test_a_new_session_is_opened() -> None:
    project = ProjectFactory()
    with record("chat", project.id) as recorder:
        session = open_for(project.id, "thread-1", recorder.run_id)
    stored = AgentSession.objects.get()
    assert stored.pk == session.pk
    assert len(session.pk) == 24
    assert (stored.project_id, stored.memory_id, stored.agent_run_id) == (project.id, "thread-1", recorder.run_id)
    assert (stored.transcript_json, stored.metadata) == ([], {})
    assert stored.created_at == stored.updated_at == session.created_at


def test_the_same_memory_opens_the_same_session() -> None:
    project, other = ProjectFactory(), ProjectFactory()
    first = open_for(project.id, "a")
    assert open_for(project.id, "a").pk == first.pk
    others = {open_for(project.id, "b").pk, open_for(project.id).pk, open_for(other.id, "a").pk}
    assert len(others | {first.pk}) == 4
    assert open_for(project.id).memory_id is None
    assert open_for(project.id).pk == open_for(project.id, None).pk


def test_the_newest_of_several_is_opened() -> None:
    project = ProjectFactory()
    now = datetime.now(UTC)
    newest = SessionFactory(project=project, memory_id="a", created_at=now)
    SessionFactory(project=project, memory_id="a", created_at=now - timedelta(days=1))
    assert open_for(project.id, "a").pk == newest.pk


def test_the_legacy_chat_is_never_opened() -> None:
    make_project("p", chat=[{"role": "user", "content": "Hello"}])
    forward()
    assert scalar('SELECT id FROM "AgentSession"') == "legacy_p"
    session = open_for("p")
    assert session.pk != "legacy_p"
    assert open_for("p").pk == session.pk


def test_a_session_names_the_last_run_that_opened_it() -> None:
    project = ProjectFactory()
    first, second = RunFactory(project=project), RunFactory(project=project)
    open_for(project.id, run=first.pk)
    assert open_for(project.id).agent_run_id == first.pk
    assert open_for(project.id, run=second.pk).agent_run_id == second.pk
    assert AgentSession.objects.get().agent_run_id == second.pk


def test_another_projects_run_opens_no_session(django_assert_num_queries: Any) -> None:
    project, without_project = ProjectFactory(), RunFactory(project=None)
    with pytest.raises(
        UnsuitableRun, match="A session cannot be opened by the run 'r': it belongs to the project 'b'"
    ):
        open_for(project.id, run=RunFactory(id="r", project__id="b").pk)
    assert not AgentSession.objects.exists()

    session = open_for(project.id, run=without_project.pk)
    with django_assert_num_queries(2):
        assert open_for(project.id, run=without_project.pk).pk == session.pk
    assert session.agent_run_id == without_project.pk


def test_unknown_projects_and_runs_are_refused() -> None:
    project = ProjectFactory()
    with pytest.raises(ProjectNotFound, match="'no-such-project'"):
        open_for("no-such-project")
    with pytest.raises(RunNotFound, match="'nothing'"):
        open_for(project.id, run="nothing")
    assert not AgentSession.objects.exists()


def test_two_concurrent_openings_make_one_row() -> None:
    project = ProjectFactory()
    opened = in_threads(lambda _: open_for(project.id, "a").pk, 8, 8)
    assert len(set(opened)) == 1
    assert AgentSession.objects.count() == 1


def test_an_opening_waits_for_an_uncommitted_one() -> None:
    project = ProjectFactory()
    opened: list[str] = []
    with transaction.atomic():
        first = open_for(project.id, "a")
        thread = start_and_wait_for_lock(lambda: opened.append(open_for(project.id, "a").pk))
    thread.join(60)
    assert opened == [first.pk]


def test_finding_a_session_takes_one_query(django_assert_num_queries: Any) -> None:
    project = ProjectFactory()
    open_for(project.id, "a")
    with django_assert_num_queries(1):
        open_for(project.id, "a")


# -- appending


def test_entries_keep_their_order() -> None:
    session = open_for(ProjectFactory().id)
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert append(session, "user", "Hello") == 1
    assert append(session.pk, "assistant", {"text": "Hi", "pages": [1, None]}) == 2
    assert (
        append(session, "tool", ["a"], at=datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))) == 3
    )
    first, second, third = transcript(session)
    assert before < datetime.fromisoformat(first.pop("at")) < datetime.fromisoformat(second.pop("at"))
    assert first == {"role": "user", "content": "Hello"}
    assert second == {"role": "assistant", "content": {"text": "Hi", "pages": [1, None]}}
    assert third == {"role": "tool", "content": ["a"], "at": "2025-01-02T01:04:05.000006Z"}


def test_a_time_without_a_zone_is_refused() -> None:
    session = open_for(ProjectFactory().id)
    with pytest.raises(ValueError, match="is naive"):
        append(session, "user", "Hello", at=datetime(2025, 1, 2))  # noqa: DTZ001
    assert transcript(session) == []


def test_an_open_session_reads_its_transcript_again() -> None:
    session = open_for(ProjectFactory().id)
    opened_at = session.updated_at
    append(session, "user", "Hello")
    assert [entry["content"] for entry in session.transcript_json] == ["Hello"]
    assert session.updated_at > opened_at


def test_content_that_cannot_be_stored_is_marked() -> None:
    session = open_for(ProjectFactory().id)
    append(session, "us\0er", "a\0b")
    append(session, "user", {"score": float("nan")})
    first, second = transcript(session)
    assert (first["role"], first["content"]) == ("us\\u0000er", {"$unstorable": "string", "value": "a\\u0000b"})
    assert second["content"] == {"score": {"$unstorable": "number", "value": "NaN"}}


def test_a_hundred_concurrent_appends_make_a_hundred_entries() -> None:
    session = open_for(ProjectFactory().id)
    counts = in_threads(lambda place: append(session.pk, "user", place), 100, 20)
    assert sorted(counts) == list(range(1, 101))
    entries = transcript(session)
    assert sorted(entry["content"] for entry in entries) == list(range(100))
    for first in range(20):
        mine = [entry["content"] for entry in entries if entry["content"] % 20 == first]
        assert mine == sorted(mine)


def test_an_entry_is_rolled_back_with_its_transaction() -> None:
    session = open_for(ProjectFactory().id)
    with rolled_back():
        append(session, "user", "Hello")
    assert transcript(session) == []


@pytest.mark.parametrize("created", ["now() - interval '1 year'", "now() + interval '1 year'"])
def test_the_backfill_ignores_a_legacy_chat_with_new_entries(created: str) -> None:
    make_project("p", chat=[{"role": "user", "content": "Hello"}])
    sql(f'UPDATE "Project" SET "createdAt" = {created}')
    forward()
    append("legacy_p", "user", "more")
    assert scalar('SELECT updated_at > created_at FROM "AgentSession"')
    sql("""UPDATE "Project" SET meta = '{"chat": [{"role": "user", "content": "another"}]}'""")
    forward()
    assert [entry["content"] for entry in transcript("legacy_p")] == ["Hello", "more"]


# -- reading


def test_the_last_entries_are_read() -> None:
    session = open_for(ProjectFactory().id)
    assert transcript(session, 3) == []
    for number in range(5):
        append(session, "user", number)
    contents = {
        limit: [entry["content"] for entry in transcript(session, limit)] for limit in (None, 0, 1, 2, 5, 6, 10**30)
    }
    everything = [0, 1, 2, 3, 4]
    assert contents == {None: everything, 0: [], 1: [4], 2: [3, 4], 5: everything, 6: everything, 10**30: everything}


def test_numbers_keep_their_digits() -> None:
    project = ProjectFactory()
    session = SessionFactory(project=project)
    sql("""UPDATE "AgentSession" SET transcript_json = '[{"content": 0.10}]'""")
    (entry,) = transcript(session)
    assert str(entry["content"]) == "0.10"


def test_unknown_sessions_are_not_found() -> None:
    with pytest.raises(SessionNotFound, match="'nothing'") as refused:
        append("nothing", "user", "Hello")
    assert refused.value.session_id == "nothing"
    for limit in (None, 3):
        with pytest.raises(SessionNotFound):
            transcript("nothing", limit)
