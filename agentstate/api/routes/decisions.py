"""Decisions of people about what an intake found. They change the state, and outlive the next intake."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import AfterValidator, ConfigDict, Field

from agentstate.api.documented import RUN, Answer, Body, ProblemAnswer, Text
from agentstate.api.exact import answer
from agentstate.api.intake import orchestrator

router = Router(tags=["decisions"])


def _is_a_reason(note: str) -> str:
    """Refuse what Python takes for white space, which is more than the pattern of the schema does."""
    if not note.strip():
        raise ValueError("is empty")
    return note


class Resolution(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"resolution": "latest", "by": "ada"}]})

    resolution: Literal["latest", "previous"]
    by: Text | None = Field(None, description="Who decided. By default the token's name.")


class Override(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"fatal": False, "note": "We have the certificate.", "by": "ada"}]}
    )

    fatal: bool
    note: Annotated[Text, AfterValidator(_is_a_reason)] = Field(
        min_length=1, max_length=10_000, pattern=r"\S", description="Why."
    )
    by: Text | None = Field(None, description="Who decided. By default the token's name.")


class Decision(Answer):
    run_id: str | None = Field(description="The run that recorded it; null if it was decided so.", examples=[RUN])
    changed: list[str] = Field(description="The documents that changed.", examples=[["rfpNorm", "conflictLog"]])
    score: Any = Field(description="Of the coverage; null where it has none.", examples=[0.45])


@router.post(
    "/projects/{project_id}/conflicts/{key}/resolution",
    response={200: Decision, 409: ProblemAnswer, 501: ProblemAnswer},
    operation_id="resolve_conflict",
)
def resolve_conflict(request: HttpRequest, project_id: str, key: str, body: Resolution) -> HttpResponse:
    """Resolve a conflict for the latest or the previous value. The key is an entry's key, or type:key."""
    by = _who(request, body.by)
    with orchestrator() as orchestrated:
        return _decided(orchestrated.resolve_conflict(project_id, key, body.resolution, by=by))


@router.post(
    "/projects/{project_id}/eligibility/{item_id}/override",
    response={200: Decision, 409: ProblemAnswer, 501: ProblemAnswer},
    operation_id="override_eligibility",
)
def override_eligibility(request: HttpRequest, project_id: str, item_id: str, body: Override) -> HttpResponse:
    """Say of an eligibility item whether it is fatal, and why."""
    by = _who(request, body.by)
    with orchestrator() as orchestrated:
        return _decided(orchestrated.override_eligibility(project_id, item_id, body.fatal, body.note, by=by))


def _who(request: HttpRequest, by: str | None) -> str:
    caller: Any = request.auth  # type: ignore[attr-defined]
    return by or str(caller.name)


def _decided(decided: Any) -> HttpResponse:
    return answer({"run_id": decided.run_id, "changed": list(decided.changed), "score": decided.score})
