"""Intakes: documents in, one run and the project's state out."""

from __future__ import annotations

from typing import Any

import pytest

from agentstate import state
from agentstate.intake import state as intake_state
from agentstate.intake.reading import ReadFile, SourceFile, read
from agentstate.models import AgentDocument, AgentWorkflowRun, AgentWorkflowRunEvent, Project
from agentstate.orchestrator import Ingested, ingest
from agentstate.orchestrator.orchestrate import ProjectBusy
from agentstate.samples.call import sample_call
from agentstate.samples.papers import pdf
from agentstate.state import ProjectNotFound, StateWriteDisabled
from tests import scenes
from tests.factories import ProjectFactory
from tests.flags import turn

pytestmark = pytest.mark.django_db

PROJECT = "project-1"
SOURCES = [SourceFile(name, content) for name, content in sample_call().items()]
# Read once, in this process.
CALL, ADDENDUM, FAQ = map(read, SOURCES)
STEPS = ["ingest_rfp_bundle", "compare_versions", "normalize_rfp", "mine_facts", "score_coverage"]


@pytest.fixture(autouse=True)
def project() -> Project:
    turn("agentkit_writes", everyone=True)
    return ProjectFactory(id=PROJECT)


def take_in(*texts: ReadFile) -> Ingested:
    return ingest(PROJECT, texts=texts)


def conflicts() -> dict[str, tuple[str | None, str | None]]:
    """Return the values of both sides of each conflict, by key."""
    return {
        entry["key"]: tuple(side and side["value"] for side in (entry["previous"], entry["next"]))
        for entry in state.load(PROJECT).conflict_log
    }


def events(run_id: str | None, *types: str) -> list[AgentWorkflowRunEvent]:
    return list(AgentWorkflowRunEvent.objects.filter(run=run_id, type__in=types).order_by("created_at"))


def test_one_intake_is_one_run_with_a_call_for_each_step() -> None:
    ingested = ingest(PROJECT, SOURCES)

    run = AgentWorkflowRun.objects.get(workflow_id="rfp_intake")
    assert (run.pk, run.workflow_id, run.status) == (ingested.run_id, "rfp_intake", "succeeded")
    calls = events(run.pk, "tool.invocation", "tool.result")
    assert [event.payload["tool"] for event in calls] == [step for step in STEPS for _ in range(2)]
    assert {event.payload["status"] for event in calls if event.type == "tool.result"} == {"ok"}
    assert set(run.events.values_list("parent_id", flat=True)) == {None}  # one after the other
    assert len(events(run.pk, "state.changed")) == 1
    assert len(events(run.pk, "conflict.found")) == len(conflicts()) == 2
    assert len(events(run.pk, "eligibility.flag")) == len(state.load(PROJECT).eligibility["items"])
    assert len(events(run.pk, "coverage.delta")) == 1
    assert ingested.changed == ("rfpNorm", "facts", "coverage", "conflictLog", "eligibility")


def test_the_addendum_changes_the_calls_values() -> None:
    take_in(FAQ, ADDENDUM, CALL)
    found = conflicts()
    assert found["project_narrative_pages"] == ("15 pages", "5 pages")
    assert [key for key in found if "deadline" in key] == ["submission_deadline"]
    assert state.load(PROJECT).rfp_norm["meta"]["deadline"] == "2027-04-15T17:00-04:00"


def test_documents_are_kept_as_their_text() -> None:
    ingested = take_in(CALL, ADDENDUM, FAQ)
    rows = {row.name: row for row in AgentDocument.objects.filter(project=PROJECT)}
    assert {name: row.role for name, row in rows.items()} == {
        "healthy-rivers-call.docx": "base",
        "healthy-rivers-addendum-1.pdf": "amendment",
        "healthy-rivers-faq.html": "faq",
    }
    assert {row.run_id for row in rows.values()} == {ingested.run_id}
    assert {row.family for row in rows.values()} == {"call"}
    assert "shall not exceed 15 pages" in rows["healthy-rivers-call.docx"].text
    assert rows["healthy-rivers-call.docx"].size == len(SOURCES[0].data)


def test_the_same_documents_again_record_nothing() -> None:
    take_in(CALL, ADDENDUM, FAQ)
    before = scenes.everything()
    again = take_in(FAQ, CALL)
    assert (again.run_id, again.changed) == (None, ())
    assert scenes.everything() == before


def test_an_addendum_may_come_alone_later() -> None:
    take_in(CALL)
    assert conflicts() == {}
    later = take_in(ADDENDUM)
    assert "project_narrative_pages" in conflicts()
    assert set(later.changed) >= {"rfpNorm", "conflictLog"}
    assert AgentWorkflowRun.objects.filter(workflow_id="rfp_intake").count() == 2


def test_an_unreadable_file_does_not_affect_the_others() -> None:
    broken, empty = SourceFile("broken.pdf", pdf(["text"])[:200]), SourceFile("empty.md", b"")
    ingested = ingest(PROJECT, [SOURCES[0], broken, empty])
    assert [file.name for file in ingested.unread] == ["broken.pdf", "empty.md"]
    assert AgentDocument.objects.count() == 1
    (result, *_) = events(ingested.run_id, "tool.result")
    assert [each["name"] for each in result.payload["output"]["unread"]] == ["broken.pdf", "empty.md"]


def test_files_without_any_text_leave_no_run() -> None:
    ingested = ingest(PROJECT, [SourceFile("empty.md", b"")])
    assert ingested.run_id is None
    assert not AgentWorkflowRun.objects.exists()
    assert state.load(PROJECT).source == "none"


def test_closed_gates_refuse_before_anything_is_read() -> None:
    turn("agentkit_writes")
    turn("legacy_writes", everyone=False)
    with pytest.raises(StateWriteDisabled):
        take_in(CALL)
    assert not AgentDocument.objects.exists()


def test_an_unknown_project_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ProjectNotFound):
        ingest("nowhere", SOURCES)


def test_a_failure_leaves_a_failed_run_the_documents_and_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in(CALL)
    before = state.load(PROJECT)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no such number")

    monkeypatch.setattr(intake_state, "score_coverage", fail)
    with pytest.raises(ZeroDivisionError):
        take_in(ADDENDUM)
    run = AgentWorkflowRun.objects.get(status="failed")
    assert (run.error or "").startswith("ZeroDivisionError")
    assert AgentDocument.objects.count() == 2
    assert state.load(PROJECT) == before
    monkeypatch.undo()

    assert take_in(ADDENDUM).changed, "the next intake works from the documents that were kept"


def test_a_concurrent_save_makes_the_intake_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    saves = iter([{"org": {"legal_name": "Rivers"}}])
    score = intake_state.score_coverage

    def score_beside_a_save(*args: Any) -> object:
        for facts in saves:
            state.save(PROJECT, facts=facts)
        return score(*args)

    monkeypatch.setattr(intake_state, "score_coverage", score_beside_a_save)
    take_in(CALL)
    assert state.load(PROJECT).facts["org"]["legal_name"] == "Rivers"


def test_an_intake_gives_up_on_a_project_that_keeps_changing(monkeypatch: pytest.MonkeyPatch) -> None:
    score, numbers = intake_state.score_coverage, iter(range(1000))

    def score_beside_a_save(*args: Any) -> object:
        state.save(PROJECT, facts={"number": next(numbers)})
        return score(*args)

    monkeypatch.setattr(intake_state, "score_coverage", score_beside_a_save)
    with pytest.raises(ProjectBusy, match="run the intake again"):
        take_in(CALL)
    assert AgentWorkflowRun.objects.get(workflow_id="rfp_intake").status == "failed"


def test_texts_read_earlier_are_taken_in() -> None:
    text = "# Call\n\nThe narrative must not exceed 7 pages.\n"
    ingested = ingest(PROJECT, texts=[ReadFile("call.md", "0" * 64, len(text), text)])
    assert [file.name for file in ingested.files] == ["call.md"]
    assert AgentDocument.objects.get().text == text


def test_a_deleted_project_deletes_its_documents() -> None:
    take_in(CALL)
    scenes.run_sql('DELETE FROM "Project" WHERE id = %s', PROJECT)
    assert not AgentDocument.objects.exists()
    assert AgentWorkflowRun.objects.get(workflow_id="rfp_intake").project_id is None


def test_a_deleted_run_leaves_the_documents() -> None:
    ingested = take_in(CALL)
    scenes.run_sql('DELETE FROM "AgentWorkflowRun" WHERE id = %s', ingested.run_id)
    assert AgentDocument.objects.get().run_id is None
