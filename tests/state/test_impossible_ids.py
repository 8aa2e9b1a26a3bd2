"""Ids that no row can have, since PostgreSQL holds no such text: they are not found, like any other unknown id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from agentstate import gates, sessions, state
from agentstate.models import AgentWorkflowRun, Project
from agentstate.recording import RunNotFound, record, resume
from agentstate.sessions import SessionNotFound
from agentstate.state import ProjectNotFound, UnsuitableRun
from agentstate.state.history import around
from agentstate.state.scores import scores
from tests.factories import ProjectFactory, RunFactory

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db

IMPOSSIBLE = pytest.mark.parametrize("impossible", ["a\0b", "\0", "\ud800", "p\udfff"], ids=ascii)


def begin(project_id: str) -> None:
    with record("intake", project_id):
        pytest.fail("the block began")


OF_A_PROJECT: dict[str, Callable[[str], Any]] = {
    "load": state.load,
    "save": lambda project_id: state.save(project_id, facts=1),
    "at": lambda project_id: state.at(project_id, timezone.now()),
    "history": state.history,
    "around": around,
    "open_for": sessions.open_for,
    "record": begin,
}


@IMPOSSIBLE
@pytest.mark.parametrize("act", OF_A_PROJECT.values(), ids=OF_A_PROJECT)
def test_a_project_with_such_an_id_is_not_found(act: Callable[[str], Any], impossible: str) -> None:
    with pytest.raises(ProjectNotFound) as refused:
        act(impossible)
    assert refused.value.project_id == impossible
    assert str(refused.value).isprintable()
    assert not AgentWorkflowRun.objects.exists()


@IMPOSSIBLE
def test_such_an_id_is_left_out_of_many(impossible: str) -> None:
    project = ProjectFactory()
    assert list(state.load_many([impossible, project.id])) == [project.id]
    assert state.load_many([impossible]) == {}
    assert Project.objects.unknown([project.id, impossible]) == [impossible]
    assert scores(impossible) == []


@IMPOSSIBLE
def test_gates_answer_for_it(impossible: str) -> None:
    assert gates.legacy_writes(impossible)
    assert not gates.stored_answers(impossible).agentkit_writes


@IMPOSSIBLE
def test_a_run_with_such_an_id_is_not_found(impossible: str) -> None:
    project = ProjectFactory()
    with pytest.raises(UnsuitableRun, match="there is no such run"):
        state.save(project.id, run=impossible, facts=1)
    with pytest.raises(RunNotFound):
        sessions.open_for(project.id, run=impossible)
    with pytest.raises(RunNotFound), resume(impossible):
        pytest.fail("the block began")


@IMPOSSIBLE
def test_a_session_with_such_an_id_is_not_found(impossible: str) -> None:
    for limit in (None, 1):
        with pytest.raises(SessionNotFound):
            sessions.transcript(impossible, limit)
    with pytest.raises(SessionNotFound):
        sessions.append(impossible, "user", "Hello")


@IMPOSSIBLE
def test_a_memory_id_is_escaped(impossible: str) -> None:
    project = ProjectFactory()
    session = sessions.open_for(project.id, impossible)
    assert "\\u" in str(session.memory_id)
    assert sessions.open_for(project.id, impossible).pk == session.pk
    assert sessions.open_for(project.id).pk != session.pk


def test_an_id_with_any_other_text_is_found() -> None:
    project = ProjectFactory(id="p/ é😀 '\"\\u0000")
    run = RunFactory(project=project, id="r \\ud800", status="running")
    assert state.save(project.id, run=run.pk, facts=1).changed == ("facts",)
    assert state.load(project.id).facts == 1
