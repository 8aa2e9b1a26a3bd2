"""Problems as answers (RFC 9457): the field, the fact and the way out. No answer shows SQL or a traceback."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from ninja.errors import HttpError, ValidationError
from psycopg import errors

from agentstate.api import limits
from agentstate.recording import IllegalStatusChange, RunFinished, RunNotFound
from agentstate.recording.errors import IdTaken
from agentstate.recording.storable import storable, storable_text
from agentstate.sessions import OtherLength, SessionNotFound
from agentstate.state import (
    ProjectHidden,
    ProjectNotFound,
    StateWriteDisabled,
    UnsuitableDocument,
    UnsuitableRun,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.http import HttpRequest

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
KIND = "urn:agentstate:problem:"
RETRY_SECONDS = 5


class Problem(Exception):
    """A request that is refused.

    Attributes:
        status: of the answer.
        kind: what is wrong, for programs to compare: the end of the answer's ``type``.
        detail: the fact.
        way_out: what the client can do.
        fields: the fields that are wrong, each with the fact about it.
        more: further members of the answer, such as the run's ``status`` that refuses.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        way_out: str,
        *,
        fields: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.way_out = status, kind, detail, way_out
        self.fields, self.headers, self.more = fields, headers or {}, more

    def response(self) -> HttpResponse:
        content = {
            "type": KIND + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            # An id or a name of a client's may hold what is no text.
            "detail": storable_text(self.detail),
            "way_out": self.way_out,
            **({"errors": [_field(*field) for field in self.fields]} if self.fields else {}),
            **self.more,
        }
        return HttpResponse(
            storable(content), status=self.status, content_type=PROBLEM_JSON, headers=dict(self.headers)
        )


def _field(name: str, fact: str) -> dict[str, str]:
    return {"field": storable_text(name), "fact": storable_text(fact)}


def problem_of(error: Exception) -> Problem:
    """Return the answer to an error of the package, of ninja or of the database. An unknown one is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error.__cause__, Problem):  # raised by our parser, from which ninja raises its own
        return error.__cause__
    for kind, make in _PROBLEMS.items():
        if isinstance(error, kind) and (problem := make(error)):
            return problem
    logger.error("A request to the API failed", exc_info=error)
    return Problem(
        500, "internal", "The server failed.", "Try again later. The operator finds the reason in the site's log."
    )


def on_exception(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer an exception of a route. A handler of ninja's."""
    return problem_of(error).response()


def unauthorized(detail: str = "The request has no token.") -> Problem:
    return Problem(
        401,
        "unauthorized",
        detail,
        "Send a token that is in use: Authorization: Bearer …. The operator makes one with "
        "manage.py agentkit_token create.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def not_found(what: str, id_: str, called: str = "id") -> Problem:
    return Problem(404, f"{what}-not-found", f"No {what} has the {called} {id_!r}.", "Check the id.")


def too_large() -> Problem:
    return Problem(
        413,
        "body-too-large",
        f"The body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes.",
        "Send less at once. The operator can raise DATA_UPLOAD_MAX_MEMORY_SIZE.",
    )


def refuse_more(field: str, count: int) -> None:
    """Raise a problem if a body has more of something than one request may have."""
    if count > limits.EVENTS.value:
        fact = f"has {count:,} members, and one request may have {limits.EVENTS.value:,}"
        raise Problem(
            422,
            "too-many",
            f"The field {field} {fact}.",
            f"Send several requests. The operator can raise {limits.EVENTS.name}.",
            fields=[(field, fact)],
        )


def _invalid(error: ValidationError) -> Problem:
    fields = [(_path(each["loc"]), str(each["msg"])) for each in error.errors]
    named = ", ".join(field for field, _ in fields[:5] if field) or "the body"
    return Problem(
        422,
        "invalid",
        f"The request is not valid: see {named}.",
        "Correct what errors names, and send the request again.",
        fields=fields,
    )


def _path(loc: Sequence[Any]) -> str:
    """Return a field's path, ``events[3].type``. A body's location has the parameter's name in front."""
    source, *steps = loc
    if source == "body":
        steps = steps[1:]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _gates_closed(error: StateWriteDisabled) -> Problem:
    return Problem(
        409,
        "gates-closed",
        f"State of project {error.project_id!r} cannot be saved: no write gate is open for it.",
        "Ask the operator to open one of the gates with manage.py waffle_flag.",
        gates=["agentkit_writes", "legacy_writes"],
    )


def _ended(error: RunFinished | IllegalStatusChange) -> Problem:
    detail, way_out = str(error), "Record in a new run."
    if isinstance(error, IllegalStatusChange):
        way_out = "Read the run to see what it is now."
        if error.status == error.wanted:
            detail = f"Run {error.run_id} is {error.status} already, with another error or output."
    return Problem(409, "run-status", detail, way_out, run_status=error.status)


def _unsuitable_document(error: UnsuitableDocument) -> Problem:
    fact = str(error).removeprefix(f"{error.path} ")
    way_out = "Correct the value, and send the request again."
    return Problem(422, "unsuitable-document", str(error), way_out, fields=[(error.path, fact)])


def _of_database(error: DatabaseError | InterfaceError) -> Problem | None:
    cause = error.__cause__
    if isinstance(cause, errors.LockNotAvailable):
        return _retry("locked", "Another process keeps the row locked. Nothing was written.")
    if isinstance(cause, (errors.DeadlockDetected, errors.SerializationFailure, errors.QueryCanceled)):
        return _retry("conflict-of-writers", "The database gave up a statement that met others. Nothing was written.")
    if isinstance(cause, (errors.ProgramLimitExceeded, errors.StatementTooComplex)):
        return Problem(422, "too-large", "The database cannot hold such a large value.", "Send a smaller value.")
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The database cannot be used: %s", type(cause or error).__name__)
        return _retry("database-away", "The database cannot be used now.")
    return None


def _retry(kind: str, detail: str) -> Problem:
    return Problem(
        503,
        kind,
        detail,
        "Send the same request again after the time in Retry-After.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _http(error: HttpError) -> Problem:
    if error.status_code == 401:
        return unauthorized()
    return Problem(error.status_code, "refused", str(error), "Correct the request.")


_PROBLEMS: dict[type[Exception] | tuple[type[Exception], ...], Callable[[Any], Problem | None]] = {
    ValidationError: _invalid,
    (ProjectNotFound, ProjectHidden): lambda error: not_found("project", error.project_id),
    RunNotFound: lambda error: not_found("run", error.run_id),
    SessionNotFound: lambda error: not_found("session", error.session_id, "memory id"),
    StateWriteDisabled: _gates_closed,
    UnsuitableDocument: _unsuitable_document,
    UnsuitableRun: lambda error: Problem(
        409, "unsuitable-run", str(error), "Name a running run of this project, or none.", fields=[("run", str(error))]
    ),
    (RunFinished, IllegalStatusChange): _ended,
    OtherLength: lambda error: Problem(
        409, "other-length", str(error), "Read what was added, and append after it.", length=error.length
    ),
    IdTaken: lambda error: Problem(409, "id-taken", str(error), "Choose another id.", ids=list(error.ids)),
    RequestDataTooBig: lambda error: too_large(),
    Http404: lambda error: Problem(404, "no-such-route", "The API has no such route.", "Read the list of routes."),
    HttpError: _http,
    (DatabaseError, InterfaceError): _of_database,
}
