"""A project's state: read it, replay it at a moment, save it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ninja import Router
from pydantic import AwareDatetime

from agentstate import state
from agentstate.api.access import readers
from agentstate.api.exact import answer, moment
from agentstate.state import ABSENT
from agentstate.state.keys import STATE_KEYS

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

router = Router(tags=["state"])


@router.get("/projects/{project_id}/state", auth=readers("view_project"))
def read_state(request: HttpRequest, project_id: str, at: AwareDatetime | None = None) -> HttpResponse:
    """Return the project's documents as the gates say, or replayed at a moment."""
    if at is not None:
        past = state.at(project_id, at)
        return answer({"project_id": project_id, "documents": _documents(past), "as_of": moment(past.as_of)})
    present = state.load(project_id, request)
    return answer(
        {
            "project_id": project_id,
            "documents": _documents(present),
            "source": present.source,
            "as_of": moment(present.as_of),
            "standing": present.standing,
            "fell_back": present.fell_back,
            "behind": present.behind,
        }
    )


def _documents(documents: Any) -> dict[str, Any]:
    given = {key.name: getattr(documents, key.attribute) for key in STATE_KEYS}
    return {name: document for name, document in given.items() if document is not ABSENT}
