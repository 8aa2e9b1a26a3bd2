"""Runs: begin one under an id of the client's, read it, and change its status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from django.db.models import Func, TextField
from django.http import HttpRequest, HttpResponse
from ninja import Path, Router
from pydantic import ConfigDict, Field, model_validator

from agentstate.api.access import readers
from agentstate.api.documented import AT, PROJECT, RUN, Answer, Body, Limit, Name, NewId, ProblemAnswer, Text
from agentstate.api.exact import answer, moment
from agentstate.api.paging import newest_first
from agentstate.api.routes.events import NewEvent, given
from agentstate.distant_times import distant_times
from agentstate.models import AgentWorkflowRun, Project
from agentstate.models.fields import possible_id
from agentstate.models.runs import WAITING, RunNotFound
from agentstate.recording import repeatable
from agentstate.state import ProjectNotFound
from agentstate.state.documents import decode

if TYPE_CHECKING:
    from django.db.models import QuerySet

router = Router(tags=["runs"])


class RunSummary(Answer):
    id: str = Field(examples=[RUN])
    workflow_id: str = Field(examples=["draft"])
    project_id: str | None = Field(examples=[PROJECT])
    status: Literal["pending", "running", "succeeded", "failed", "canceled"]
    closed_as_stale: bool = Field(description="It gave no sign of life, and was failed for that.")
    started_at: str = Field(examples=[AT])
    completed_at: str | None = Field(examples=[None])
    snapshot_at: str | None = Field(description="When the state that it saved was taken.", examples=[None])


class Run(RunSummary):
    input: Any = Field(description="null also where it has none.")
    output: Any = Field(description="null also where it has none.")
    error: str | None
    waiting: Any = Field(description="What an interrupted run needs to go on.")


class RunPage(Answer):
    runs: list[RunSummary]
    next: str | None = Field(description="The value of after for the next page, null on the last one.")


class NewRun(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"workflow_id": "draft", "project_id": PROJECT, "input": {"section": "background"}}]
        }
    )

    workflow_id: Name
    project_id: Text | None = None
    input: Any = None


class Outcome(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "succeeded", "output": {"pages": 3}}]})

    status: Literal["succeeded", "failed", "canceled"]
    error: Text | None = None
    output: Any = None

    @model_validator(mode="after")
    def has_error_where_it_failed(self) -> Outcome:
        if self.status == "failed" and not self.error:
            raise ValueError("a run that failed has an error")
        if self.status == "succeeded" and self.error is not None:
            raise ValueError("a run that succeeded has no error")
        return self


class Interruption(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"waiting": {"approvals": [{"call_id": "call_7", "tool": "send_mail"}]}}]}
    )

    waiting: Any = Field(None, description="What the run needs to go on.")
    events: list[NewEvent] = Field([], description="Written before the run waits.")


@router.get(
    "/projects/{project_id}/runs", auth=readers("view_agentworkflowrun"), response={200: RunPage}, operation_id="runs"
)
def list_runs(request: HttpRequest, project_id: str, after: str | None = None, limit: Limit = 50) -> HttpResponse:
    """List a project's runs, the newest first."""
    known(project_id)
    rows = AgentWorkflowRun.objects.of_project(project_id).defer("input", "result", "error")
    page = newest_first(rows, "started_at", after, limit)
    return answer({"runs": [_summary(run) for run in page.rows], "next": page.next})


@router.put("/runs/{run_id}", response={200: Run, 201: Run, 409: ProblemAnswer}, operation_id="begin_run")
def begin_run(request: HttpRequest, run_id: Annotated[NewId, Path()], body: NewRun) -> HttpResponse:
    """Begin a run under an id of your own. The same content again answers 200, other content 409."""
    is_new = repeatable.begin(run_id, body.workflow_id, body.project_id, body.input)
    return answer(_run(run_id), 201 if is_new else 200)


@router.get("/runs/{run_id}", auth=readers("view_agentworkflowrun"), response={200: Run}, operation_id="read_run")
def read_run(request: HttpRequest, run_id: str) -> HttpResponse:
    """Return a run."""
    return answer(_run(run_id))


@router.post("/runs/{run_id}/finish", response={200: Run, 409: ProblemAnswer}, operation_id="finish_run")
def finish_run(request: HttpRequest, run_id: str, body: Outcome) -> HttpResponse:
    """End a run. The same outcome again answers 200, another 409."""
    output = body.output if "output" in body.model_fields_set else repeatable.NOT_GIVEN
    repeatable.finish(run_id, body.status, error=body.error, output=output)
    return answer(_run(run_id))


@router.post("/runs/{run_id}/interrupt", response={200: Run, 409: ProblemAnswer}, operation_id="interrupt_run")
def interrupt_run(request: HttpRequest, run_id: str, body: Interruption) -> HttpResponse:
    """Pause a running run, for example until an operator approves its calls."""
    repeatable.interrupt(run_id, body.waiting, given(body.events))
    return answer(_run(run_id))


@router.post("/runs/{run_id}/resume", response={200: Run, 409: ProblemAnswer}, operation_id="resume_run")
def resume_run(request: HttpRequest, run_id: str) -> HttpResponse:
    """Resume a run that was interrupted. What it waited with is removed: read it before."""
    repeatable.resume(run_id)
    return answer(_run(run_id))


@router.post("/runs/{run_id}/heartbeat", response={204: None, 409: ProblemAnswer}, operation_id="beat")
def beat(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show during a long step that the run is alive."""
    repeatable.beat(run_id)
    return HttpResponse(status=204)


def known(project_id: str) -> None:
    """Raise ProjectNotFound if no project has this id."""
    if Project.objects.unknown([project_id]):
        raise ProjectNotFound(project_id)


def _text(expression: str) -> Func:
    """Return the text of jsonb, which has every digit; Django would parse it into floats."""
    return Func(template=f"({expression})::text", output_field=TextField())


def _run(run_id: str) -> dict[str, Any]:
    runs: QuerySet[Any] = AgentWorkflowRun.objects.defer("input", "result").annotate(
        input_text=_text("input"),
        output_text=_text("result -> 'output'"),
        waiting_text=_text(f"result -> '{WAITING}'"),
    )
    with distant_times():
        run = runs.filter(pk=possible_id(run_id)).first()
    if run is None:
        raise RunNotFound(run_id)
    texts = {"input": run.input_text, "output": run.output_text, "waiting": run.waiting_text}
    return {
        **_summary(run),
        **{name: None if text is None else decode(text) for name, text in texts.items()},
        "error": run.error,
    }


def _summary(run: AgentWorkflowRun) -> dict[str, Any]:
    return {
        "id": run.pk,
        "workflow_id": run.workflow_id,
        "project_id": run.project_id,
        "status": run.status,
        "closed_as_stale": run.closed_as_stale,
        "started_at": moment(run.started_at),
        "completed_at": moment(run.completed_at),
        "snapshot_at": moment(run.snapshot_at),
    }
