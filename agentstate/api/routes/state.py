"""A project's state: read it, replay it at a moment, save it, and list the moments at which it was saved."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import ConfigDict, Field

from agentstate import state
from agentstate.api.access import readers
from agentstate.api.documented import (
    AT,
    KEYS,
    PROJECT,
    RUN,
    Answer,
    Body,
    Documents,
    Instant,
    Key,
    Limit,
    ProblemAnswer,
    Text,
)
from agentstate.api.exact import answer, moment
from agentstate.api.problems import Problem
from agentstate.state import ABSENT
from agentstate.state.keys import STATE_KEYS

router = Router(tags=["state"])

READERS = readers("view_project")
ATTRIBUTES = {key.name: key.attribute for key in STATE_KEYS}
NAMES = {key.attribute: key.name for key in STATE_KEYS}


class State(Answer):
    """The documents that exist, and where they come from. A document that is absent has no key; null is JSON null."""

    project_id: str = Field(examples=[PROJECT])
    documents: Documents = Field(examples=[{"facts": {"budget": 250000.10}, "coverage": None}])
    source: Literal["agentkit", "legacy", "none", "replay"] = Field(
        description="The home that answered; replay at a moment; none where neither home has a document."
    )
    as_of: str | None = Field(description="When this state was saved.", examples=[AT])
    run_id: str | None = Field(description="The run that saved it, at a moment only.", examples=[None])
    standing: Literal["empty", "in_sync", "legacy_ahead", "agentkit_ahead", "forked"] | None
    fell_back: Literal["no_snapshot", "legacy_ahead", "malformed", "error"] | None = Field(
        description="Why the legacy home answered although the gate names the AgentKit home."
    )
    behind: bool = Field(description="The gate names the older home.")


class Changes(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"documents": {"facts": {"budget": 250000}}, "remove": ["coverage"]}]}
    )

    documents: Documents = Field(default={}, description="By key. null is JSON null.")
    remove: list[Key] = Field(default=[], description="The keys of documents to remove.")
    run: Text | None = Field(default=None, description="A running run of the project that records the save.")


class Saved(Answer):
    at: str | None = Field(description="The save's clock value, null if nothing changed.", examples=[AT])
    changed: list[str] = Field(description="The keys of the documents that changed.", examples=[["facts"]])
    run_id: str | None = Field(description="The run that recorded it.", examples=[RUN])


class Moment(Answer):
    at: str = Field(examples=[AT])
    run_id: str = Field(examples=[RUN])
    workflow_id: str = Field(examples=["direct_write"])


class History(Answer):
    moments: list[Moment]
    next: str | None = Field(description="The value of after for the next page, null on the last one.")


@router.get("/projects/{project_id}/state", auth=READERS, response={200: State}, operation_id="read_state")
def read_state(
    request: HttpRequest,
    project_id: str,
    at: Annotated[Instant | None, Query(description="A moment with its time zone.", examples=[AT])] = None,
    only: Annotated[
        list[str] | None,
        Query(
            alias="keys",
            description=f"Only these documents: {', '.join(KEYS)}. Separated by commas, or repeated.",
            examples=[["facts,coverage"]],
        ),
    ] = None,
) -> HttpResponse:
    """Return the project's documents from the home that the gates name, or as they were at a moment."""
    wanted = _keys(only)
    if at is not None:
        past = state.at(project_id, at)
        facts = {"source": "replay", "as_of": moment(past.as_of), "run_id": past.run_id}
        return answer(
            {**_documents(past, wanted), **facts, "standing": None, "fell_back": None, "behind": False},
        )
    present = state.load(project_id, request)
    return answer(
        {
            **_documents(present, wanted),
            "source": present.source,
            "as_of": moment(present.as_of),
            "run_id": None,
            "standing": present.standing,
            "fell_back": present.fell_back,
            "behind": present.behind,
        }
    )


@router.patch("/projects/{project_id}/state", response={200: Saved, 409: ProblemAnswer}, operation_id="save_state")
def save_state(request: HttpRequest, project_id: str, body: Changes) -> HttpResponse:
    """Save the documents that are given, and leave the others as they are. Equal documents write nothing."""
    if both := sorted(body.documents.keys() & set(body.remove)):
        raise _invalid("remove", f"names {', '.join(both)}, which documents has too")
    documents = {ATTRIBUTES[key]: document for key, document in body.documents.items()}
    documents |= {ATTRIBUTES[key]: ABSENT for key in body.remove}
    if not documents:
        raise _invalid("documents", "is empty, and so is remove")
    saved = state.save(project_id, run=body.run, **documents)
    return answer({"at": moment(saved.at), "changed": [NAMES[name] for name in saved.changed], "run_id": saved.run_id})


@router.get("/projects/{project_id}/history", auth=READERS, response={200: History}, operation_id="read_history")
def read_history(
    request: HttpRequest,
    project_id: str,
    after: Annotated[Instant | None, Query(description="Only later moments.", examples=[AT])] = None,
    limit: Limit = 100,
) -> HttpResponse:
    """List the moments at which the state was saved, the oldest first."""
    moments = state.history(project_id, after=after, limit=limit + 1)
    shown = moments[:limit]
    return answer(
        {
            "moments": [
                {"at": moment(each.at), "run_id": each.run_id, "workflow_id": each.workflow_id} for each in shown
            ],
            "next": moment(shown[-1].at) if len(moments) > limit else None,
        }
    )


def _keys(given: list[str] | None) -> tuple[str, ...]:
    """Parse lists of keys.

    Raises:
        Problem: one is no key.
    """
    keys = KEYS if given is None else tuple(",".join(given).split(","))
    if unknown := [key for key in keys if key not in KEYS]:
        raise _invalid("keys", f"names {', '.join(map(repr, unknown))}, and the keys are {', '.join(KEYS)}")
    return keys


def _documents(documents: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    given = {key: getattr(documents, ATTRIBUTES[key]) for key in KEYS if key in keys}
    return {
        "project_id": documents.project_id,
        "documents": {key: document for key, document in given.items() if document is not ABSENT},
    }


def _invalid(field: str, fact: str) -> Problem:
    return Problem(
        422, "invalid", f"The field {field} {fact}.", "Correct it, and send the request again.", fields=[(field, fact)]
    )
