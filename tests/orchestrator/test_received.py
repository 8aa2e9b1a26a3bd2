"""Intakes whose files one process takes in and another reads."""

from __future__ import annotations

import pytest

from agentstate import state
from agentstate.intake.reading import SourceFile
from agentstate.models import AgentDocument, AgentWorkflowRun, IncomingFile, Project
from agentstate.orchestrator import ingest_received, receive
from agentstate.recording.errors import IdTaken
from agentstate.state import ProjectNotFound, StateWriteDisabled
from tests.factories import ProjectFactory
from tests.flags import turn

pytestmark = pytest.mark.django_db

PROJECT = "project-1"
CALL = SourceFile("call.md", b"# Call\n\n## Format\n\nThe proposal must not exceed 5 pages.\n")
NEWER = SourceFile("call_v2.md", b"# Call\n\n## Format\n\nThe proposal must not exceed 9 pages.\n")
EMPTY = SourceFile("empty.md", b"")


@pytest.fixture(autouse=True)
def project() -> Project:
    turn("agentkit_writes", everyone=True)
    return ProjectFactory(id=PROJECT)


def run_of(run_id: str) -> AgentWorkflowRun:
    return AgentWorkflowRun.objects.get(pk=run_id)


def test_files_wait_until_a_worker_reads_them() -> None:
    received = receive(PROJECT, [CALL, EMPTY, NEWER])
    assert received.is_new
    assert run_of(received.run_id).status == "pending"
    assert list(IncomingFile.objects.order_by("ordinal").values_list("name", flat=True)) == [
        "call.md",
        "empty.md",
        "call_v2.md",
    ]

    ingested = ingest_received(received.run_id)

    assert ingested is not None
    assert [file.name for file in ingested.unread] == ["empty.md"]
    assert (run_of(received.run_id).status, IncomingFile.objects.count()) == ("succeeded", 0)
    assert set(AgentDocument.objects.values_list("name", "run")) == {
        ("call.md", received.run_id),
        ("call_v2.md", received.run_id),
    }
    assert len(state.load(PROJECT).conflict_log) == 1
    assert ingest_received(received.run_id) is None, "a task that is delivered twice"


def test_the_same_files_again_are_the_same_run_unless_it_was_lost() -> None:
    first = receive(PROJECT, [CALL, NEWER])
    assert receive(PROJECT, [CALL, NEWER]) == (first.run_id, False)
    other = receive(PROJECT, [NEWER, CALL])
    assert other.is_new

    run_of(first.run_id).cancel()
    second = receive(PROJECT, [CALL, NEWER])

    assert second.is_new
    assert second.run_id not in (first.run_id, other.run_id)
    assert receive(PROJECT, [CALL, NEWER]) == (second.run_id, False)
    assert set(IncomingFile.objects.values_list("run", flat=True)) == {other.run_id, second.run_id}, (
        "the lost are gone"
    )


def test_a_callers_id_names_one_intake() -> None:
    assert receive(PROJECT, [CALL], "my-intake") == ("my-intake", True)
    assert receive(PROJECT, [CALL], "my-intake") == ("my-intake", False)
    with pytest.raises(IdTaken, match="my-intake"):
        receive(PROJECT, [NEWER], "my-intake")
    ProjectFactory(id="project-2")
    with pytest.raises(IdTaken):
        receive("project-2", [CALL], "my-intake")


def test_an_unknown_project_or_closed_gates_take_nothing_in() -> None:
    with pytest.raises(ProjectNotFound):
        receive("nowhere", [CALL])
    received = receive(PROJECT, [CALL])
    for gate in ("agentkit_writes", "legacy_writes"):
        turn(gate, everyone=False)
    with pytest.raises(StateWriteDisabled):
        receive(PROJECT, [NEWER])
    with pytest.raises(StateWriteDisabled):
        ingest_received(received.run_id)
    assert (run_of(received.run_id).status, IncomingFile.objects.count()) == ("failed", 0)
