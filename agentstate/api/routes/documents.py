"""Documents of a request for proposals: upload them, and follow their intake as a run."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Literal

from django.core.exceptions import TooManyFilesSent
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import reverse
from ninja import Router
from pydantic import Field

from agentstate.api import limits
from agentstate.api.documented import NEW_ID, RUN, Answer, ProblemAnswer
from agentstate.api.exact import answer
from agentstate.api.intake import orchestrator
from agentstate.api.problems import RETRY_SECONDS, Problem
from agentstate.api.tasks import read_documents
from agentstate.models import AgentWorkflowRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.intake.reading import SourceFile

logger = logging.getLogger(__name__)
router = Router(tags=["documents"])

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "additionalProperties": False,
                    "properties": {
                        "files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
                        "run": {
                            "type": "string",
                            "pattern": NEW_ID,
                            "description": "An id of your own for the run. By default it is made of the files.",
                        },
                    },
                }
            }
        },
    }
}


class Accepted(Answer):
    run_id: str = Field(examples=[RUN])
    status: Literal["pending", "running", "succeeded", "failed", "canceled"]
    run: str = Field(description="The address of the run.", examples=[f"/api/v1/runs/{RUN}"])
    events: str = Field(description="The address of its events.", examples=[f"/api/v1/runs/{RUN}/events"])


@router.post(
    "/projects/{project_id}/documents",
    response={202: Accepted, 409: ProblemAnswer, 501: ProblemAnswer},
    operation_id="upload_documents",
    openapi_extra=BODY,
)
def upload_documents(request: HttpRequest, project_id: str) -> HttpResponse:
    """Take documents in and start their intake. The same files again answer with the same run."""
    with orchestrator() as orchestrated:
        files, run_id = _given(request)
        received = orchestrated.receive(project_id, files, run_id)
    if received.is_new:
        _start(received.run_id)
    run = AgentWorkflowRun.objects.only("status").get(pk=received.run_id)
    addresses = {
        name: reverse(f"agentstate-api:{view}", args=[run.pk])
        for name, view in (("run", "read_run"), ("events", "read_events"))
    }
    response = answer({"run_id": run.pk, "status": run.status, **addresses}, 202)
    response["Location"] = addresses["run"]
    return response


def _start(run_id: str) -> None:
    """Hand the run over to a worker.

    Raises:
        Problem: the queue is away. The run is canceled, so the same files get a new one.
    """
    try:
        read_documents.enqueue(run_id)
    except DatabaseError:
        raise
    except Exception:
        logger.exception("The intake %s could not be enqueued", run_id)
        AgentWorkflowRun.objects.get(pk=run_id).cancel("The queue of tasks could not be reached.")
        raise Problem(
            503,
            "queue-away",
            "The queue of tasks cannot be reached now. No document was taken in.",
            "Send the same request again after the time in Retry-After.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        ) from None


def _given(request: HttpRequest) -> tuple[Sequence[SourceFile], str | None]:
    """Return the files of a request and the run's id, within the limits."""
    from agentstate.intake.reading import SourceFile

    if request.content_type != "multipart/form-data":
        raise Problem(
            415,
            "unsupported-media-type",
            f"The body is {request.content_type or 'of no stated type'}, and this route takes multipart/form-data.",
            "Send the files as the field files of a form, as curl -F files=@call.pdf does.",
        )
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length > limits.UPLOAD_BYTES.value:
        raise _too_large(f"The upload has {length:,} bytes", limits.UPLOAD_BYTES)
    try:
        fields, uploads = request.POST, request.FILES.getlist("files")
    except TooManyFilesSent:
        raise _too_large("The upload has too many files", limits.FILES) from None
    except MultiPartParserError as error:
        raise Problem(400, "not-a-form", f"The body is not a valid form: {error}.", "Send a valid form.") from None
    if not uploads:
        raise _wrong("files", "has no file", "Send at least one file as the field files.")
    if len(uploads) > limits.FILES.value:
        raise _too_large(f"The upload has {len(uploads):,} files", limits.FILES)
    for upload in uploads:
        if (upload.size or 0) > limits.FILE_BYTES.value:
            raise _too_large(f"The file {upload.name!r} has {upload.size:,} bytes", limits.FILE_BYTES)
    run_id = fields.get("run") or None
    if run_id is not None and (not re.fullmatch(NEW_ID, str(run_id)) or str(run_id).startswith("legacy_")):
        raise _wrong("run", "is not 1 to 200 letters, digits, and . _ ~ -", "Choose another id, or leave it out.")
    return [SourceFile(_name(upload), upload.read()) for upload in uploads], run_id and str(run_id)


def _name(upload: Any) -> str:
    """Return the file's name as text that can be stored."""
    name = str(upload.name or "document").replace("\0", "")
    return name.encode("utf-8", "replace").decode()


def _wrong(field: str, fact: str, way_out: str) -> Problem:
    return Problem(422, "invalid", f"The field {field} {fact}.", way_out, fields=[(field, fact)])


def _too_large(fact: str, limit: limits.Limit) -> Problem:
    return Problem(
        413,
        "upload-too-large",
        f"{fact}; the limit is {limit.value:,}.",
        f"Send less at once. The operator can raise {limit.name}.",
    )
