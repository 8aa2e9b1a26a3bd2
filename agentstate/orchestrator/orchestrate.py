"""Ingest the documents of a request for proposals: one intake is one run of the workflow ``rfp_intake``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from agentstate.intake.limits import read_files
from agentstate.intake.state import Findings, WorkedOut, summary_of, work_out_state
from agentstate.orchestrator.agent import Fallback, let_model_drive, name_of, require
from agentstate.orchestrator.store import Known, changed_by, has, keep, save_if_current
from agentstate.recording import record
from agentstate.state.saving import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agents import Model

    from agentstate.intake.limits import Limits
    from agentstate.intake.reading import ReadFile, SourceFile
    from agentstate.recording import Recorder, ToolCall

WORKFLOW = "rfp_intake"
READ_TOOL = "ingest_rfp_bundle"
# How often the state is worked out again because another writer saved the project meanwhile.
ATTEMPTS = 5


class ProjectBusy(Exception):
    """The project's state changed each time while the intake worked it out. The documents are kept."""

    def __init__(self, project_id: str) -> None:
        super().__init__(
            f"The state of project {project_id!r} changed {ATTEMPTS} times during the intake. The documents are kept; "
            "run the intake again when nothing else saves the project."
        )
        self.project_id = project_id


@dataclass(frozen=True)
class Ingested:
    """What an intake did.

    Attributes:
        run_id: of the run that recorded it; None if it changed nothing.
        files: what reading each file gave, in the order given; one that could not be read has an ``error``.
        worked_out: the state, and the project's documents in their order.
        changed: the state keys whose documents changed.
        fallback: what a model did not do; None if it did everything, or if none was asked.
    """

    run_id: str | None
    files: tuple[ReadFile, ...]
    worked_out: WorkedOut
    changed: tuple[str, ...]
    fallback: Fallback | None = None

    @property
    def unread(self) -> list[ReadFile]:
        return [file for file in self.files if file.error is not None]


def ingest(
    project_id: str,
    sources: Sequence[SourceFile] = (),
    *,
    texts: Sequence[ReadFile] = (),
    limits: Limits | None = None,
    progress: Callable[[ReadFile], None] = lambda _: None,
    model: str | Model | None = None,
) -> Ingested:
    """Read documents, work out the project's state from all documents that it has, and save it.

    Documents that the project has already change nothing. If nothing is new and the state is as it was, no run is
    recorded. The run begins with the first new document: a process that dies later leaves the documents read so far
    and an unchanged state.

    Args:
        sources: files to read, each in a child process.
        texts: documents that were read before.
        limits: of time and memory for each file.
        progress: called with each document as it is read.
        model: lets a model take the steps, where there is something new: its name at OpenAI, or one of the SDK's. The
            steps that it leaves out are taken in their fixed order, as all are without a model.

    Raises:
        AgentUnavailable: the model cannot be asked. Nothing was read.
        ProjectNotFound: no project has this id.
        StateWriteDisabled: both write gates are closed for the project. Nothing was read.
        ProjectBusy: others kept saving the project.
    """
    if model is not None:
        require(model)
    refuse_unwritable(project_id)
    with ExitStack() as stack:
        names = [*(text.name for text in texts), *(source.name for source in sources)]
        intake = _Intake(project_id, names, stack, model)

        def take(file: ReadFile) -> None:
            intake.take(file)
            progress(file)

        for text in texts:
            take(text)
        return intake.finish((*texts, *read_files(sources, limits, take)))


def ingest_into(
    run: Recorder, names: Sequence[str], sources: Iterable[SourceFile], limits: Limits | None = None
) -> Ingested:
    """Read documents as :func:`ingest` does, as part of a run that has begun, whether anything is new or not.

    Args:
        names: of the files.
        sources: the files, asked for one by one.

    Raises:
        ValueError: the run has no project.
        ProjectNotFound, StateWriteDisabled, ProjectBusy: see :func:`ingest`.
    """
    if run.project_id is None:
        raise ValueError(f"Run {run.run_id} has no project: it was deleted.")
    refuse_unwritable(run.project_id)
    with ExitStack() as stack:
        intake = _Intake(run.project_id, [*names], stack)
        intake.record_in(run)
        return intake.finish(tuple(read_files(sources, limits, intake.take)))


class _Intake:
    """One intake, whose run begins when there is something to record."""

    def __init__(self, project_id: str, names: list[str], stack: ExitStack, model: str | Model | None = None) -> None:
        self.project_id = project_id
        self.fallback: Fallback | None = None
        self._names, self._stack, self._model, self._at = names, stack, model, timezone.now()
        self._run: Recorder | None = None
        self._reading: ToolCall | None = None
        self._reading_block = ExitStack()

    @property
    def run_id(self) -> str | None:
        return self._run.run_id if self._run else None

    def begin(self) -> Recorder:
        """Begin the run unless it has begun."""
        if self._run is None:
            given = {"source": WORKFLOW, "documents": self._names}
            if self._model is not None:
                given["agent"] = name_of(self._model)
            return self.record_in(self._stack.enter_context(record(WORKFLOW, self.project_id, input=given)))
        return self._run

    def record_in(self, run: Recorder) -> Recorder:
        """Use a run that has begun, and begin the call of the tool that reads, unless a model makes it."""
        self._run = run
        if self._model is None:
            self._stack.enter_context(self._reading_block)
            self._reading = self._reading_block.enter_context(run.tool(READ_TOOL, {"documents": self._names}))
        return run

    def take(self, file: ReadFile) -> None:
        """Keep a document that is new."""
        if file.error is None and not has(self.project_id, file):
            keep(self.project_id, self.begin().run_id, file, self._at)

    def finish(self, files: tuple[ReadFile, ...]) -> Ingested:
        """Work out the state from all documents of the project, and save it."""
        worked_out, changed = self._work_out(files)
        return Ingested(self.run_id, files, worked_out, changed, self.fallback)

    def _work_out(self, files: Sequence[ReadFile]) -> tuple[WorkedOut, tuple[str, ...]]:
        """Work out the state and save it, again if others saved the project in between: then without the model."""
        for attempt in range(ATTEMPTS):
            known = Known.read(self.project_id)
            if self._run is None:
                worked_out = work_out_state(known.documents, known.stored, known.project)
                if not known.documents or not known.differing(worked_out.documents):
                    return worked_out, ()
            run = self.begin()
            findings = Findings(known.documents, known.stored, known.project, unread(files))
            if self._model is not None and attempt == 0:
                self.fallback = let_model_drive(findings, run, self._model)
            self._take_missing_steps(findings, run)
            worked_out = findings.worked_out()
            saved = save_if_current(known, run, worked_out.documents, worked_out.classified)
            if saved is not None:
                run.set_output(summary(worked_out, files))
                return worked_out, changed_by(saved)
        raise ProjectBusy(self.project_id)

    def _take_missing_steps(self, findings: Findings, run: Recorder) -> None:
        """Take the steps in their order, each as a call of a tool. Reading is one with the step that classifies."""
        for step in findings.missing:
            if self._reading is not None and step.name == READ_TOOL:
                self._reading.output = findings.take(step)
                self._reading_block.close()  # what follows is not inside the call
                self._reading = None
            else:
                with run.tool(step.name, step.arguments(findings)) as call:
                    call.output = findings.take(step)


def unread(files: Sequence[ReadFile]) -> list[dict[str, str]]:
    """Return the files that could not be read, with the reason."""
    return [{"name": file.name, "error": file.error} for file in files if file.error is not None]


def summary(worked_out: WorkedOut, files: Sequence[ReadFile] = ()) -> dict[str, Any]:
    """Return what an intake found, in figures, as the run's output and the command's JSON have it."""
    items = worked_out.eligibility["items"]
    return {
        "documents": [
            *({**summary_of(one), "error": None} for one in worked_out.classified),
            *(
                {**dict.fromkeys(("family", "role", "version", "date")), "reasons": [], "pages": 0, **one}
                for one in unread(files)
            ),
        ],
        "sections": len(worked_out.rfp_norm.get("sections", [])),
        "deadline": worked_out.rfp_norm.get("meta", {}).get("deadline"),
        "conflicts": len(worked_out.conflict_log),
        "eligibility": len(items),
        "fatal": sum(item.get("fatal") is True for item in items),
        "score": worked_out.coverage["score"],
    }
