"""The OpenAPI document, with every answer that a route can give, and its interactive pages for staff."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from agentstate.api.access import TOKEN, StaffSession, require
from agentstate.api.application import NAMESPACE, api
from agentstate.api.exact import answer
from agentstate.api.problems import PROBLEM_JSON, RETRY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

# The schema of problems, as ninja names it after its class.
PROBLEM = "ProblemAnswer"
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "example": "Bearer"}},
    503: {"Retry-After": {"schema": {"type": "string"}, "example": str(RETRY_SECONDS)}},
}
_FACTS = {
    400: ("not-json", "The body is not valid JSON: Expecting value: line 1 column 1 (char 0).", "Send valid JSON."),
    401: ("unauthorized", "The token is not known or was revoked.", "Send a token that is in use."),
    403: ("scope-missing", "The token lacks the scope write.", "Use a token made with --scope write."),
    404: ("run-not-found", "No run has the id 'draft-7'.", "Check the id."),
    409: ("run-status", "Run draft-7 has ended (succeeded) and accepts nothing more.", "Record in a new run."),
    413: ("body-too-large", "The body is larger than 2,621,440 bytes.", "Send less at once."),
    415: ("unsupported-media-type", "The body is text/plain.", "Send JSON."),
    422: ("invalid", "The request is not valid: see limit.", "Correct what errors names."),
    500: ("internal", "The server failed.", "Try again later."),
    501: ("needs-asgi", "This server runs the site over WSGI.", "Read the events without Accept: text/event-stream."),
    503: ("locked", "Another process keeps the row locked. Nothing was written.", "Send the same request again."),
}


@require_safe
def openapi_json(request: HttpRequest) -> HttpResponse:
    """Return the OpenAPI document. For every caller that may read."""
    require(request, [TOKEN, StaffSession()])
    return answer(document(reverse(f"{NAMESPACE}:api-root")))


@staff_member_required
def docs(request: HttpRequest) -> HttpResponse:
    """Show interactive pages. Their scripts and styles are ninja's, served as the site's static files."""
    settings = {
        "url": reverse(f"{NAMESPACE}:openapi-json"),
        "layout": "BaseLayout",
        "deepLinking": True,
        "validatorUrl": None,  # the default is a validator on another server
    }
    return TemplateResponse(request, "agentstate/api/docs.html", {"title": api.title, "settings": settings})


@cache
def document(prefix: str) -> dict[str, Any]:
    """Return the document of the routes below a prefix."""
    made: dict[str, Any] = api.get_openapi_schema(path_prefix=prefix)
    for operation in _operations(made):
        for status in _refusals(operation):
            operation["responses"].setdefault(status, {})
        for status, response in operation["responses"].items():
            if status >= 400:
                response.update(_problem(status))
        operation["responses"] = dict(sorted(operation["responses"].items()))
    with_text: dict[str, Any] = _with_text_keys(made)
    return with_text


def _operations(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in made["paths"].values():
        yield from methods.values()


def _refusals(operation: dict[str, Any]) -> Iterator[int]:
    """Yield the statuses of refusals that follow from what an operation takes."""
    yield from (500, 503)
    if operation.get("security"):
        yield from (401, 403)
    parameters = {parameter["in"] for parameter in operation["parameters"]}
    if "path" in parameters:
        yield 404
    if "query" in parameters or "requestBody" in operation:
        yield 422
    if "requestBody" in operation:
        yield from (400, 413, 415)


def _problem(status: int) -> dict[str, Any]:
    kind, detail, way_out = _FACTS[status]
    title = HTTPStatus(status).phrase
    example = {
        "type": f"urn:agentstate:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "way_out": way_out,
    }
    return {
        "description": title,
        "content": {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}, "example": example}},
        **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
    }


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list) else value


urlpatterns = [
    path("openapi.json", openapi_json, name="openapi-json"),
    path("docs", docs, name="docs"),
]
